"""What HDF5 files hold, read without the C library."""
