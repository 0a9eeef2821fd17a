"""Images in and out: `files` decodes and encodes them, `sheets` lays them out side by side."""
