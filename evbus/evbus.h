/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#define EVBUS_INSIDE

#include <evbus/evbus-batch.h>
#include <evbus/evbus-broker.h>
#include <evbus/evbus-cloud-event.h>
#include <evbus/evbus-context.h>
#include <evbus/evbus-dead-letter.h>
#include <evbus/evbus-enum-types.h>
#include <evbus/evbus-error.h>
#include <evbus/evbus-event.h>
#include <evbus/evbus-explanation.h>
#include <evbus/evbus-fate.h>
#include <evbus/evbus-ingress.h>
#include <evbus/evbus-json.h>
#include <evbus/evbus-ledger.h>
#include <evbus/evbus-mailbox.h>
#include <evbus/evbus-orphan.h>
#include <evbus/evbus-producer.h>
#include <evbus/evbus-profiles.h>
#include <evbus/evbus-provider.h>
#include <evbus/evbus-route.h>
#include <evbus/evbus-serializer.h>
#include <evbus/evbus-spool-condition.h>
#include <evbus/evbus-template.h>
#include <evbus/evbus-version.h>
#include <evbus/evbus-version-macros.h>

#undef EVBUS_INSIDE
