"""Compiler and linker hardening, read from the program itself."""

import platform
import re
import subprocess

import pytest

from harness.process import binary


def readelf(*options):
    return subprocess.run(["readelf", "--wide", *options, binary()], text=True, check=True,
                          capture_output=True).stdout


@pytest.fixture(scope="module")
def producers():
    """The compiler options of each of our files, from the debug information."""
    found = re.findall(r"DW_AT_producer\s.*: (GNU C1[17].*)", readelf("--debug-dump=info"))
    assert found
    return found


def test_it_is_placed_at_random():
    assert "DYN (Position-Independent Executable file)" in readelf("--file-header")


def test_nothing_that_is_relocated_stays_writable():
    assert "GNU_RELRO" in readelf("--program-headers")
    assert re.search(r"\(FLAGS_1\)\s.*\bNOW\b", readelf("--dynamic"))  # full RELRO


def test_the_stack_is_not_executable():
    assert re.search(r"GNU_STACK .* RW +0x", readelf("--program-headers"))


def test_stacks_are_guarded(producers):
    for producer in producers:
        assert "-fstack-protector-strong" in producer
        assert "-fstack-clash-protection" in producer
    assert "__stack_chk_fail" in readelf("--symbols")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86 has it")
def test_jumps_land_where_they_may(producers):
    assert all("-fcf-protection" in producer for producer in producers)


def test_copies_are_checked_against_the_sizes_of_their_targets():
    """_FORTIFY_SOURCE=3 also checks sizes known only at run time; with 2 none of these checks would
    exist."""
    symbols = set(re.findall(r"(__\w+_chk)@", readelf("--symbols")))
    assert {"__memset_chk", "__recv_chk"} <= symbols
