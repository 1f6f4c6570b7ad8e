// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Logging to stderr in upstream's two formats (logrus, set up by vendor/github.com/containerd/log): text
 *   time="2026-01-02T15:04:05.000000001Z" level=info msg="..." key=value
 * and JSON {"key":"value","level":"info","msg":"...","time":"..."}.
 * The time always has nine digits and the local zone (Z for UTC); fields are sorted by key; a text value is
 * quoted unless it is all of [A-Za-z0-9-._/@^+]; fields named time, level and msg become fields.time...
 *
 * A line is one write(2), at most 16 KiB (longer texts are cut and say so). Level and format are process-wide
 * and atomic; every function may be called from any thread. Fields are given as key, value pairs ended by
 * NULL: log_warn("failed to load shim", "id", id, "namespace", ns, NULL); and fields of the current call
 * (namespace, method) can be pushed for a scope with log_scope.
 */

#include <glib.h>
#include <stdbool.h>

typedef enum {
	LOG_PANIC,
	LOG_FATAL,
	LOG_ERROR,
	LOG_WARN,
	LOG_INFO,
	LOG_DEBUG,
	LOG_TRACE,
} LogLevel;

/* "trace", "debug", "info", "warn"/"warning", "error", "fatal", "panic" (any case).
 * Error text as logrus': `not a valid logrus Level: "x"`. */
bool log_level_parse(const char *s, LogLevel *ret, GError **error);
const char *log_level_name(LogLevel level);
void log_set_level(LogLevel level);
LogLevel log_get_level(void);
bool log_enabled(LogLevel level);
void log_set_json(bool json);
/* Where lines go; 2 at start. The caller keeps the fd open. */
void log_set_fd(int fd);

void log_at(LogLevel level, const char *msg, ...) G_GNUC_NULL_TERMINATED;
#define log_error(msg, ...) log_at(LOG_ERROR, (msg), __VA_ARGS__)
#define log_warn(msg, ...) log_at(LOG_WARN, (msg), __VA_ARGS__)
#define log_info(msg, ...) log_at(LOG_INFO, (msg), __VA_ARGS__)
#define log_debug(msg, ...)                                                                                  \
	do {                                                                                                 \
		if (log_enabled(LOG_DEBUG))                                                                  \
			log_at(LOG_DEBUG, (msg), __VA_ARGS__);                                               \
	} while (0)

/* A line about an error: field error=<text>, and frees the error: for the place that ends its journey. */
void log_error_take(LogLevel level, GError *error, const char *msg, ...) G_GNUC_NULL_TERMINATED;

/* Fields that every line of this thread carries until the scope ends; they nest. The strings must outlive it.
 */
typedef struct LogScope LogScope;
struct LogScope {
	const char *key[4], *value[4];
	LogScope *outer;
};
void log_scope_enter(LogScope *scope);
void log_scope_leave(LogScope *scope);

/* Counts the lines at WARN and above since the start: tests assert that a path logs nothing unexpected. */
unsigned log_count_warnings(void);
