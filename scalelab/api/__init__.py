"""What the command line does, as typed calls: questions to a store, reports, proposals, files of datasets.

`scalelab.__init__` offers them to the world; the rooms below know nothing of each other's order of work.
"""
