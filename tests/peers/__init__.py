"""Devices and clients that others wrote, for tests of ours against them; each folder builds or starts one."""
