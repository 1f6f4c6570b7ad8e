// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Wall-clock stamps, monotonic deadlines and Go's durations. No state; thread-safe. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* A wall-clock instant in nanoseconds since the epoch, UTC. 0 is "not set" (Go's zero time). Range 1678-2262.
 */
typedef int64_t TimeNs;

#define NS_PER_SEC INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

TimeNs time_now(void);
/* Monotonic clock, nanoseconds; for deadlines and durations. */
int64_t time_mono(void);

/* RFC 3339 with nanoseconds, as Go's time.RFC3339Nano in UTC: "2026-01-02T15:04:05.000000001Z", trailing
 * zeros of the fraction cut. Owned by the caller. */
char *time_format_rfc3339(TimeNs t);
/* Parses RFC 3339 with any offset and 0-9 fraction digits. */
bool time_parse_rfc3339(const char *s, TimeNs *ret, GError **error);

/* Go's time.ParseDuration: "1h2m3.5s", "100ms", "-1.5h", "0". Nanoseconds.
 * Error text as Go's: `time: invalid duration "x"`. */
bool duration_parse(const char *s, int64_t *ret_ns, GError **error);
/* Go's Duration.String(): "1h2m3.5s", "100ms", "0s". Owned by the caller. */
char *duration_format(int64_t ns);
