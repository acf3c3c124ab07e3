"""What every other module stands on: files, deadlines, errors."""
