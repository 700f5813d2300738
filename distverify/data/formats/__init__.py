"""Reading one kind of data file each: what is in it is known by shape and type before any value is read."""
