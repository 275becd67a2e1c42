"""Videos and annotations in, clips and boxes out."""
