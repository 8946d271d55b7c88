"""For authors: the skeleton of a lab, the honesty gates, the site."""
