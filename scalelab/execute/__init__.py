"""Execution: from a study's pending trials to records in the store, on one machine or many.

`run_study` is the coordinator: it claims trials, hands them to an `Executor` as `Job`s, and is the only
writer of the store. A worker writes its record into the journal before it says that it is done, so nothing
that was acknowledged depends on the coordinator living on.
"""
