"""What tools that track runs left on a disk, read run by run; each tool is one short file, in `known.py`."""
