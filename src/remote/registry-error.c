// SPDX-License-Identifier: Apache-2.0
#include "remote/registry-error.h"
#include "base/error.h"
#include "base/json.h"
#include "base/util.h"
#include "remote/url.h"
#include <string.h>

bool registry_error_status(HttpResponse *r, GError **error)
{
	g_autofree char *url = url_redact(http_url(r));
	return error_set(error, CTRD_ERR_UNKNOWN, "unexpected status from %s request to %s: %s",
	                 http_method(r), url, http_status_text(r));
}

/* The code in words, and the message where it says more than the code. */
static char *one_error(JsonObject *o)
{
	static const struct {
		const char *code, *message;
	} known[] = {
	        {"UNKNOWN", "unknown error"},
	        {"UNSUPPORTED", "The operation is unsupported."},
	        {"UNAUTHORIZED", "authentication required"},
	        {"DENIED", "requested access to the resource is denied"},
	        {"UNAVAILABLE", "service unavailable"},
	        {"TOOMANYREQUESTS", "too many requests"},
	};
	const char *code = str_or(json_get_string(o, "code"), "");
	const char *message = str_or(json_get_string(o, "message"), "");
	const char *usual = known[0].message, *name = "unknown";
	g_autofree char *lower = NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
		if (g_str_equal(known[i].code, code)) {
			usual = known[i].message;
			name = lower = g_ascii_strdown(code, -1);
		}
	bool has_detail = json_get(o, "detail") != NULL;
	if (!has_detail && (*message == '\0' || g_str_equal(message, usual)))
		return g_strdup(name);
	return g_strdup_printf("%s: %s", name, message);
}

char *registry_error_text(const char *body, size_t len)
{
	g_autoptr(JsonObject) o = json_parse(body, len, REGISTRY_ERROR_BODY_MAX + 1, NULL);
	JsonObject *errors = o != NULL ? json_get_array(o, "errors") : NULL;
	size_t n = errors != NULL ? json_object_array_length(errors) : 0;
	if (n == 0)
		return NULL;
	if (n == 1)
		return one_error(json_object_array_get_idx(errors, 0));
	GString *text = g_string_new("errors:\n");
	for (size_t i = 0; i < n; i++) {
		g_autofree char *one = one_error(json_object_array_get_idx(errors, i));
		g_string_append_printf(text, "%s\n", one);
	}
	return g_string_free(text, FALSE);
}

bool registry_error_response(HttpResponse *r, const char *body, GError **error)
{
	g_autofree char *own = NULL;
	size_t len = body != NULL ? strlen(body) : 0;
	if (body == NULL)
		body = own = http_body_head(r, REGISTRY_ERROR_BODY_MAX, &len);
	g_autofree char *text = registry_error_text(body, len);
	if (text == NULL)
		return registry_error_status(r, error);
	g_autofree char *url = url_redact(http_url(r));
	return error_set(error, CTRD_ERR_UNKNOWN, "unexpected status from %s request to %s: %s\n%s",
	                 http_method(r), url, http_status_text(r), text);
}
