"""Values that everything may know: names, layouts, resources, errors and their reasons."""
