// SPDX-License-Identifier: Apache-2.0
#include "remote/explain.h"
#include "base/time.h"
#include "base/util.h"
#include "oci/reference.h"
#include <string.h>

typedef struct {
	const ExplainOptions *options;
	const char *ref;
	Cancel *cancel;
} Explain;

static JsonObject *capability_list(unsigned capabilities)
{
	static const char *const names[] = {"pull", "resolve", "push", "referrers"};
	JsonObject *list = json_object_new_array();
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if ((capabilities & (1u << i)) != 0)
			json_object_array_add(list, json_object_new_string(names[i]));
	return list;
}

/* "Name: ***": a header may be a secret, and nobody can say which. */
static void set_headers(JsonObject *o, char *const *lines)
{
	if (lines == NULL || *lines == NULL)
		return;
	JsonObject *list = json_object_new_array();
	for (; *lines != NULL; lines++) {
		g_autofree char *masked = g_strdup_printf("%.*s: ***", (int)strcspn(*lines, ":"), *lines);
		json_object_array_add(list, json_object_new_string(masked));
	}
	json_set(o, "headers", list);
}

static void set_credentials(const Explain *e, JsonObject *o, const RegistryHost *h)
{
	g_autoptr(GError) error = NULL;
	g_auto(Credentials) creds = {0};
	if (credentials_find(authorizer_sources(h->authorizer), h->host, e->cancel, &creds, &error))
		json_set_string(o, "credentials", creds.source != NULL ? creds.source : "none");
	else
		json_set_string(o, "credentialsError", error->message);
}

static GPtrArray *only_host(const char *name, void *data, GError **error)
{
	GPtrArray *hosts = g_ptr_array_new_with_free_func((GDestroyNotify)registry_host_free);
	g_ptr_array_add(hosts, data);
	return hosts;
}

/* Takes the host. */
static JsonObject *attempt(const Explain *e, RegistryHost *host)
{
	JsonObject *o = json_object_new_object();
	g_autoptr(GError) error = NULL;
	const ResolverOptions options = {
	        .http = e->options->registry->http,
	        .hosts = only_host,
	        .hosts_data = host,
	        .headers = e->options->headers,
	        .trace = e->options->trace,
	};
	g_autoptr(Resolver) r = resolver_new(&options, e->ref, &error);
	g_auto(Descriptor) desc = {0};
	if (r != NULL && resolver_resolve(r, e->cancel, &desc, &error)) {
		json_set_string(o, "digest", desc.digest);
		json_set_string(o, "mediaType", desc.media_type);
	} else {
		json_set_string(o, "error", error->message);
	}
	return o;
}

/* Takes the host. */
static JsonObject *explain_host(const Explain *e, RegistryHost *h)
{
	JsonObject *o = json_object_new_object();
	g_autofree char *url = g_strdup_printf("%s://%s%s", h->scheme, h->host, h->path);
	json_set_string(o, "url", url);
	json_set(o, "capabilities", capability_list(h->capabilities));
	json_set_string(o, "configured", h->where != NULL ? h->where : "by default");
	json_set_string(o, "tls", h->tls_text);
	set_headers(o, h->headers);
	if (h->dial_timeout_ns != 0) {
		g_autofree char *timeout = duration_format(h->dial_timeout_ns);
		json_set_string(o, "dialTimeout", timeout);
	}
	if (h->http_fallback)
		json_set(o, "httpFallback", json_object_new_boolean(true));
	set_credentials(e, o, h);
	if (h->broken != NULL)
		json_set_string(o, "error", h->broken->message);
	if (e->options->attempt && h->broken == NULL && (h->capabilities & REGISTRY_RESOLVE) != 0)
		json_set(o, "attempt", attempt(e, h));
	else
		registry_host_free(h);
	return o;
}

JsonObject *registry_explain(const ExplainOptions *options, const char *ref, Cancel *cancel, GError **error)
{
	const Explain e = {.options = options, .ref = ref, .cancel = cancel};
	g_auto(RefSpec) spec = {0};
	if (!ref_spec_parse(ref, &spec, error))
		return NULL;
	g_autofree char *name = ref_spec_hostname(&spec);
	g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
	RegistryOptions registry = *options->registry;
	registry.warnings = warnings;
	g_autoptr(GPtrArray) hosts = registry_hosts(name, &registry, error);
	if (hosts == NULL)
		return NULL;
	JsonObject *o = json_object_new_object(), *list = json_object_new_array();
	json_set_string(o, "reference", ref);
	json_set_string(o, "name", name);
	json_set_string(o, "repository", ref_spec_path(&spec));
	json_set(o, "hosts", list);
	while (hosts->len > 0)
		json_object_array_add(list, explain_host(&e, g_ptr_array_steal_index(hosts, 0)));
	if (warnings->len > 0) {
		JsonObject *texts = json_object_new_array();
		for (guint i = 0; i < warnings->len; i++)
			json_object_array_add(texts, json_object_new_string(warnings->pdata[i]));
		json_set(o, "warnings", texts);
	}
	return o;
}
