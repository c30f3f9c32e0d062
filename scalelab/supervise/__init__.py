"""What training and timing share: one supervised process and one stop signal."""
