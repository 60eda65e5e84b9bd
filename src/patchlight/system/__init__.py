"""The machine: files, images as files, devices, processes, warnings."""
