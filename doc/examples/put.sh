#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
set -e
gdbus call --session -d org.evbus1 -o /org/evbus1 \
  -m org.evbus1.Broker.Put order.created "<{'id': <42>}>" default
evbusctl put --profile default order.created '{"id": 43}'
evbusctl explain default
evbusctl status
