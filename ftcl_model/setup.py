"""Finds the packages: this folder is ftcl_model itself, whatever it is called."""

from setuptools import find_packages, setup

setup(
    packages=["ftcl_model", *(f"ftcl_model.{name}" for name in find_packages())],
    script_name="setup.py",  # so that this file is none of the package's modules
)
