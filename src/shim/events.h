// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/time.h"
#include "google/protobuf/timestamp.pb-c.h"

/* Go's zero time, which is what upstream sends for "not yet": clients test for it. */
#define GO_ZERO_TIME_SECONDS INT64_C(-62135596800)

static inline Google__Protobuf__Timestamp timestamp_of(TimeNs t)
{
	Google__Protobuf__Timestamp ts = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	ts.seconds = t == 0 ? GO_ZERO_TIME_SECONDS : t / NS_PER_SEC;
	ts.nanos = t == 0 ? 0 : (int32_t)(t % NS_PER_SEC);
	return ts;
}
