// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Errors: a GError of domain CTRD_ERROR whose code is one of upstream's error classes (errdefs).
 *
 * The class becomes the gRPC/ttrpc status code at one place (rpc/status.c); the text goes to the client as it
 * is, and clients match on it. A text is `context "object": cause`, lower case, no full stop, objects quoted
 * as Go's %q, and ends with the class's sentinel where upstream's does (`image "x": not found`). A raw errno
 * is class UNKNOWN, as in upstream (errdefs.Resolve): classify only where upstream does. Source:
 * vendor/github.com/containerd/errdefs. Thread-safe: no state.
 */

#include <glib.h>
#include <stdarg.h>
#include <stdbool.h>

#define CTRD_ERROR ctrd_error_quark()
GQuark ctrd_error_quark(void);

typedef enum {
	CTRD_ERR_UNKNOWN = 0,
	CTRD_ERR_INVALID_ARGUMENT,
	CTRD_ERR_NOT_FOUND,
	CTRD_ERR_ALREADY_EXISTS,
	CTRD_ERR_PERMISSION_DENIED,
	CTRD_ERR_RESOURCE_EXHAUSTED,
	CTRD_ERR_FAILED_PRECONDITION,
	CTRD_ERR_CONFLICT, // FAILED_PRECONDITION on the wire; the client knows it by the suffix ": conflict"
	CTRD_ERR_NOT_MODIFIED, // likewise ": not modified"
	CTRD_ERR_ABORTED,
	CTRD_ERR_OUT_OF_RANGE,
	CTRD_ERR_NOT_IMPLEMENTED,
	CTRD_ERR_INTERNAL,
	CTRD_ERR_UNAVAILABLE,
	CTRD_ERR_DATA_LOSS,
	CTRD_ERR_UNAUTHENTICATED,
	CTRD_ERR_CANCELED,
	CTRD_ERR_DEADLINE_EXCEEDED,
} CtrdErrorCode;

#define CTRD_ERROR_N_CODES (CTRD_ERR_DEADLINE_EXCEEDED + 1)

/* The text upstream ends an error of this class with, such as "not found". Static. */
const char *error_class_text(CtrdErrorCode code);

/* The class of an error; UNKNOWN for NULL and for other domains. */
CtrdErrorCode error_class(const GError *error);
bool error_is(const GError *error, CtrdErrorCode code);

/* Set *error (if error is not NULL). Always returns false, so that callers can `return error_set(...)`. */
bool error_set(GError **error, CtrdErrorCode code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Text: `<format>: <class text>`, the form of Go's fmt.Errorf("...: %w", errdefs.ErrX). Returns false. */
bool error_set_class(GError **error, CtrdErrorCode code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Text: `<format>: <errno text as Go spells it>`, class UNKNOWN. Returns false. */
bool error_set_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The same with a class, for the places where upstream gives an errno one. Returns false. */
bool error_set_errno_class(GError **error, CtrdErrorCode code, int errnum, const char *format, ...)
        G_GNUC_PRINTF(4, 5);

/* Prefix the text with `<format>: `; the class stays. Returns false. Nothing happens where *error is NULL. */
bool error_prefix(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Give an error another class and keep its text (fmt.Errorf("%v: %w") adds the sentinel: use
 * error_set_class). */
void error_reclass(GError **error, CtrdErrorCode code);

/* errno's text as Go prints it: glibc's with the first letter in lower case unless the second is upper case.
 * The result is owned by the caller. */
char *errno_text(int errnum);

/* The Go %q form of a string (strconv.Quote): double quotes, escapes, invalid UTF-8 as \xNN. Owned by the
 * caller. */
char *go_quote(const char *s);
/* go_quote for use inside a printf argument list: the string lives until the enclosing scope ends.
 *   error_set_class(error, CTRD_ERR_NOT_FOUND, "image %s", Q(name)); */
#define Q(s) (go_quote_auto(&(GoQuoteTmp){0}, (s)))
typedef struct {
	char buf[256];
} GoQuoteTmp;
/* Writes the quoted form into tmp, cut to its size with "..." before the closing quote where it does not fit
 * (names are at most 76 characters; only hostile input is cut). */
const char *go_quote_auto(GoQuoteTmp *tmp, const char *s);
