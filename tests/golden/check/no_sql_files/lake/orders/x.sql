not read: this folder is a Delta table
