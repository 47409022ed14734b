"""The only modules that know the driver of MongoDB."""
