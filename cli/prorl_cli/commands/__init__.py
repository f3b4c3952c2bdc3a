"""What `prorl` offers: thin commands, each importing what it needs when it is called."""
