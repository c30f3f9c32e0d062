"""Training: one loop, and what it is made of. Planning a study needs `schedules` and must not load torch."""
