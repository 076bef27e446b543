#!/usr/bin/env bash
# Each router has the other one's network, and packets pass.
cd "$(dirname "$0")" && . ../../containerlab/verify.bash

sessions left 1
route left 10.2.0.0/24 "via 192.0.2.2"
route right 10.1.0.0/24 "via 192.0.2.1"
reach left 10.1.0.1 10.2.0.1

finish
