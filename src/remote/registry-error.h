// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What registries say when they refuse: statuses, and the errors of the distribution spec in the body
 * (upstream core/remotes/errors, core/remotes/docker/errcode.go). Class UNKNOWN, always false. */

#include "remote/http.h"

/* `unexpected status from GET request to URL: 500 Internal Server Error` */
bool registry_error_status(HttpResponse *r, GError **error);
/* The same, and in further lines the errors of the body: `unauthorized: authentication required`. body NULL:
 * the response's own is read (64 KB of it). */
bool registry_error_response(HttpResponse *r, const char *body, GError **error);
/* The errors of a body as one text, NULL where there are none. Owned by the caller. */
char *registry_error_text(const char *body, size_t len);
/* So much of a body is looked at. */
#define REGISTRY_ERROR_BODY_MAX 64000
