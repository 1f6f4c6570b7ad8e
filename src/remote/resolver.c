// SPDX-License-Identifier: Apache-2.0
#include "remote/resolver.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/lock.h"
#include "oci/media-types.h"
#include "remote/registry-error.h"
#include "remote/resolver-private.h"
#include "remote/url.h"
#include <inttypes.h>
#include <string.h>

/* Of the content of one digest. */
typedef struct {
	RegistryHost *host; // that sent it last
	guint lies;         // how often it turned out to be wrong
} Source;

Resolver *resolver_new(const ResolverOptions *options, const char *ref, GError **error)
{
	g_autoptr(Resolver) r = g_new0(Resolver, 1);
	r->http = options->http;
	r->ref = g_strdup(ref);
	if (!ref_spec_parse(ref, &r->spec, error))
		return NULL;
	r->name = ref_spec_hostname(&r->spec);
	const char *path = r->spec.locator;
	r->repository = g_strdup(g_str_has_prefix(path, r->name) && path[strlen(r->name)] == '/'
	                                 ? path + strlen(r->name) + 1
	                                 : path);
	r->headers = g_strdupv((char **)options->headers);
	r->trace = options->trace;
	r->scope_pull = g_strdup_printf("repository:%s:pull", ref_spec_path(&r->spec));
	r->scope_push = g_strdup_printf("repository:%s:pull,push", ref_spec_path(&r->spec));
	lock_init(&r->lock, "resolver", LOCK_RANK_LEAF);
	r->sources = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	r->hosts = options->hosts(r->name, options->hosts_data, error);
	return r->hosts != NULL ? g_steal_pointer(&r) : NULL;
}

void resolver_free(Resolver *r)
{
	if (r == NULL)
		return;
	g_free(r->ref);
	ref_spec_clear(&r->spec);
	g_free(r->name);
	g_free(r->repository);
	if (r->sources != NULL) {
		g_hash_table_unref(r->sources);
		lock_destroy(&r->lock);
	}
	if (r->hosts != NULL)
		g_ptr_array_unref(r->hosts);
	g_strfreev(r->headers);
	g_free(r->scope_pull);
	g_free(r->scope_push);
	g_free(r);
}

const char *resolver_ref(Resolver *r)
{
	return r->ref;
}

/* ---- Resolve ---- */

/* Of the errors of several hosts the one that came furthest is told. */
typedef struct {
	GError *error;
	int priority;
} BestError;

static void best_error(BestError *best, int priority, GError **error)
{
	if (best->priority < priority) {
		g_clear_error(&best->error);
		best->error = g_steal_pointer(error);
		best->priority = priority;
	}
	g_clear_error(error);
}

typedef struct {
	Resolver *r;
	Cancel *cancel;
	const char *digest; // of the reference, "" where it has none
	Descriptor *ret;
	BestError best;
} Resolve;

static char *media_type_of(HttpResponse *resp)
{
	const char *type = str_or(http_header(resp, "Content-Type"), "");
	g_autofree char *bare = g_strndup(type, strcspn(type, ";"));
	g_strstrip(bare);
	/* one registry serves schema 1 like this */
	return g_strdup(g_str_equal(bare, "text/plain") ? MEDIA_TYPE_DOCKER_SCHEMA1 : bare);
}

static void accept_manifests(Request *req)
{
	for (size_t i = 0; req->resolver->headers != NULL && req->resolver->headers[i] != NULL; i++)
		if (g_ascii_strncasecmp(req->resolver->headers[i], "Accept:", 7) == 0)
			return; // the caller's instead
	request_header(req, "Accept",
	               MEDIA_TYPE_DOCKER_MANIFEST ", " MEDIA_TYPE_DOCKER_MANIFEST_LIST
	                                          ", " MEDIA_TYPE_OCI_MANIFEST ", " MEDIA_TYPE_OCI_INDEX
	                                          ", */*");
}

static Request *resolve_request(Resolve *c, RegistryHost *host, const char *method, const char *const *parts)
{
	Request *req = request_new(c->r, host, method, parts);
	accept_manifests(req);
	request_scope(req, c->r->scope_pull);
	req->by_digest = *c->digest != '\0';
	return req;
}

typedef struct {
	Digester *digester;
	int64_t size;
} Counting;

static bool count_bytes(void *data, const void *buf, size_t len, GError **error)
{
	Counting *c = data;
	c->size += (int64_t)len;
	if (c->size > REMOTE_MANIFEST_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED,
		                 "manifest of more than %" PRId64 " bytes", REMOTE_MANIFEST_MAX);
	digester_update(c->digester, buf, len);
	return true;
}

/* The registry did not say the digest or the size: they come from the content. */
static bool resolve_by_get(Resolve *c, RegistryHost *host, const char *const *parts, char **digest,
                           char **media_type, int64_t *size, GError **error)
{
	g_autoptr(Request) req = resolve_request(c, host, "GET", parts);
	g_autoptr(HttpResponse) resp = request_do(req, c->cancel, true, NULL, error);
	if (resp == NULL)
		return false;
	if (http_status(resp) >= 400)
		return registry_error_response(resp, NULL, error);
	g_free(*media_type);
	*media_type = media_type_of(resp);
	if (*digest == NULL && g_str_equal(*media_type, MEDIA_TYPE_DOCKER_SCHEMA1))
		return error_set(
		        error, CTRD_ERR_NOT_IMPLEMENTED,
		        "not implemented: media type %s is no longer supported since containerd v2.0, "
		        "please rebuild the image as %s or %s",
		        Q(MEDIA_TYPE_DOCKER_SCHEMA1), Q(MEDIA_TYPE_DOCKER_MANIFEST),
		        Q(MEDIA_TYPE_OCI_MANIFEST));
	g_autoptr(Digester) digester = digester_new("sha256");
	Counting count = {.digester = digester};
	if (!http_body(resp, count_bytes, &count, NULL, error))
		return false;
	if (*digest == NULL)
		*digest = digester_digest(digester);
	*size = count.size;
	return true;
}

/* true: done, or *error says why nothing more is to be tried; false: the next host. A host that makes no
 * sense is like one that is down. */
static bool resolve_on(Resolve *c, RegistryHost *host, const char *const *parts, bool last_host,
                       GError **error)
{
	g_autoptr(Request) req = resolve_request(c, host, "HEAD", parts);
	g_autoptr(GError) e = NULL;
	g_autoptr(HttpResponse) resp = request_do(req, c->cancel, last_host, NULL, &e);
	if (resp == NULL) {
		if (req->denied)
			error_prefix(
			        &e,
			        "pull access denied, repository does not exist or may require authorization");
		best_error(&c->best, 1, &e);
		return false;
	}
	int status = http_status(resp);
	if (status == 404) {
		error_set_class(&e, CTRD_ERR_NOT_FOUND, "%s", c->r->ref);
		best_error(&c->best, 2, &e);
		return false;
	}
	if (status > 399) {
		request_error_with_body(req, resp, c->cancel, &e);
		best_error(&c->best, 3, &e);
		return false;
	}
	if (status > 299) {
		registry_error_response(resp, NULL, &e);
		best_error(&c->best, 3, &e);
		return false;
	}
	int64_t size = http_content_length(resp);
	g_autofree char *media_type = media_type_of(resp);
	g_autofree char *digest = *c->digest != '\0' ? g_strdup(c->digest) : NULL;
	const char *said = http_header(resp, "Docker-Content-Digest");
	if (digest == NULL && !str_empty(said) && size != -1) {
		if (!digest_validate(said, &e)) {
			error_prefix(&e, "%s in header not a valid digest", Q(said));
			best_error(&c->best, 3, &e);
			return false;
		}
		digest = g_strdup(said);
	}
	if ((digest == NULL || size == -1) &&
	    !resolve_by_get(c, host, parts, &digest, &media_type, &size, &e)) {
		best_error(&c->best, 3, &e);
		return false;
	}
	if (size > REMOTE_MANIFEST_MAX) {
		error_set_class(&e, CTRD_ERR_NOT_FOUND, "rejecting %" PRId64 " byte manifest for %s", size,
		                c->r->ref);
		best_error(&c->best, 4, &e);
		return false;
	}
	*c->ret = (Descriptor){
	        .media_type = g_steal_pointer(&media_type),
	        .digest = g_steal_pointer(&digest),
	        .size = size,
	};
	return true;
}

GPtrArray *resolver_hosts_with(Resolver *r, unsigned capabilities)
{
	GPtrArray *hosts = g_ptr_array_new();
	for (guint i = 0; i < r->hosts->len; i++)
		if ((((RegistryHost *)r->hosts->pdata[i])->capabilities & capabilities) == capabilities)
			g_ptr_array_add(hosts, r->hosts->pdata[i]);
	return hosts;
}

bool resolver_resolve(Resolver *r, Cancel *cancel, Descriptor *ret, GError **error)
{
	if (*r->spec.object == '\0')
		return error_set(error, CTRD_ERR_UNKNOWN, "object required");
	Resolve c = {.r = r, .cancel = cancel, .digest = ref_spec_digest(&r->spec), .ret = ret};
	bool by_digest = *c.digest != '\0';
	if (by_digest && !digest_validate(c.digest, error))
		return false;
	g_autoptr(GPtrArray) hosts =
	        resolver_hosts_with(r, by_digest ? REGISTRY_PULL : REGISTRY_PULL | REGISTRY_RESOLVE);
	if (hosts->len == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "no resolve hosts");
	/* a digest may be a blob's, but only where no host knows it as a manifest */
	const char *const places[] = {"manifests", "blobs"};
	for (size_t p = 0; p < (by_digest ? 2 : 1) && c.best.priority <= 2; p++) {
		const char *const parts[] = {places[p], by_digest ? c.digest : r->spec.object, NULL};
		for (guint i = 0; i < hosts->len; i++) {
			GError *e = NULL;
			if (!cancel_check(cancel, &e) ||
			    resolve_on(&c, hosts->pdata[i], parts, i + 1 == hosts->len, &e)) {
				g_clear_error(&c.best.error);
				if (e != NULL)
					g_propagate_error(error, e);
				return e == NULL;
			}
		}
	}
	if (c.best.error == NULL)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "%s", r->ref);
	g_propagate_error(error, c.best.error);
	return false;
}

/* ---- Fetch ---- */

enum {
	STALLED_MAX = 3,          // broken connections in a row that brought nothing
	PROGRESS_MIN = 64 * 1024, // what a connection that then stalled must have brought to have been of use
};

typedef struct {
	Resolver *r;
	Cancel *cancel;
	const Descriptor *desc;
	GPtrArray *hosts; // that may be asked, in order; RegistryHost*
	guint first;      // the one to begin with
	int64_t offset;   // of the next byte the sink wants
	int64_t skip;     // bytes of the present body before it
	bool stalled;     // it ended for coming too slowly
	bool no_range;    // a range was asked for and another came
	ByteSink sink;
	void *data;
	Decompressor *decoder; // the server encoded the content
} Fetch;

static bool deliver(Fetch *f, const void *buf, size_t len, GError **error)
{
	const char *p = buf;
	if (f->skip > 0) {
		size_t n = (size_t)MIN((int64_t)len, f->skip);
		f->skip -= (int64_t)n;
		p += n;
		len -= n;
	}
	if (f->desc->size > 0 && (int64_t)len > f->desc->size - f->offset) {
		return error_set_class(error, CTRD_ERR_FAILED_PRECONDITION,
		                       "content of %s is longer than its %" PRId64 " bytes", f->desc->digest,
		                       f->desc->size);
	}
	if (len > 0 && !f->sink(f->data, p, len, error))
		return false;
	f->offset += (int64_t)len;
	return true;
}

static bool on_content(void *data, const void *buf, size_t len, GError **error)
{
	Fetch *f = data;
	if (f->decoder == NULL)
		return deliver(f, buf, len, error);
	const uint8_t *in = buf;
	uint8_t out[32 * 1024];
	for (;;) {
		size_t n = 0;
		if (!decompressor_step(f->decoder, &in, &len, false, out, sizeof(out), &n, error))
			return false;
		if (n > 0 && !deliver(f, out, n, error))
			return false;
		if (n < sizeof(out))
			return true;
	}
}

/* The body of this answer starts at our offset, or before it. */
static bool check_range(Fetch *f, HttpResponse *resp, GError **error)
{
	f->skip = 0;
	const char *range = http_header(resp, "Content-Range");
	if (http_status(resp) != 206 && range == NULL) {
		f->skip = f->offset; // the range was ignored: all of it comes again
		return true;
	}
	g_autofree char *wanted = g_strdup_printf("bytes %" PRId64 "-", f->offset);
	if (range == NULL ? f->offset == 0 : g_str_has_prefix(range, wanted))
		return true;
	f->no_range = true;
	return error_set(error, CTRD_ERR_UNKNOWN, "unhandled content range in response: %s",
	                 str_or(range, ""));
}

static bool set_decoder(Fetch *f, HttpResponse *resp, GError **error)
{
	g_clear_pointer(&f->decoder, decompressor_free);
	const char *encoding = http_header(resp, "Content-Encoding");
	if (str_empty(encoding) || g_ascii_strcasecmp(encoding, "identity") == 0)
		return true;
	if (g_ascii_strcasecmp(encoding, "gzip") == 0)
		f->decoder = decompressor_new(COMPRESSION_GZIP);
	else if (g_ascii_strcasecmp(encoding, "zstd") == 0)
		f->decoder = decompressor_new(COMPRESSION_ZSTD);
	else
		return error_set(error, CTRD_ERR_UNKNOWN, "unsupported Content-Encoding algorithm: %s",
		                 encoding);
	return true;
}

/* Where the content comes from: for resolver_distrust and ranges. */
static void note_source(Fetch *f, RegistryHost *host)
{
	LOCK_SCOPE(&f->r->lock);
	Source *source = g_hash_table_lookup(f->r->sources, f->desc->digest);
	if (source == NULL) {
		source = g_new0(Source, 1);
		g_hash_table_insert(f->r->sources, g_strdup(f->desc->digest), source);
	}
	source->host = host;
}

RegistryHost *resolver_source(Resolver *r, const char *digest)
{
	LOCK_SCOPE(&r->lock);
	const Source *source = g_hash_table_lookup(r->sources, digest);
	return source != NULL ? source->host : NULL;
}

/* One request. *ret_again: the connection broke, and what came so far is good. */
static bool fetch_once(Fetch *f, Request *req, bool last_host, bool *ret_opened, bool *ret_again,
                       GError **error)
{
	*ret_opened = *ret_again = false;
	g_autofree char *accept = str_empty(f->desc->media_type)
	                                  ? g_strdup("*/*")
	                                  : g_strconcat(f->desc->media_type, ", */*", NULL);
	request_header(req, "Accept", accept);
	request_header(req, "Accept-Encoding", "identity"); // what is stored, byte for byte
	if (f->offset > 0 && !f->no_range) {
		g_autofree char *range = g_strdup_printf("bytes=%" PRId64 "-", f->offset);
		request_header(req, "Range", range);
	}
	req->by_digest = true;
	HttpFailure failure = HTTP_OK;
	g_autoptr(HttpResponse) resp = request_do(req, f->cancel, last_host, &failure, error);
	if (resp == NULL)
		return false;
	if (http_status(resp) == 404) {
		g_autofree char *url = url_redact(req->url);
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "content at %s not found", url);
	}
	if (http_status(resp) > 299)
		return registry_error_response(resp, NULL, error);
	bool had_range = f->offset > 0 && !f->no_range;
	if (!check_range(f, resp, error)) {
		*ret_opened = *ret_again = had_range; // without a range it may know better
		return false;
	}
	if (!set_decoder(f, resp, error))
		return false;
	*ret_opened = true;
	if (!req->plain_headers) // not whoever a manifest names
		note_source(f, req->host);
	if (http_body(resp, on_content, f, &failure, error)) {
		if (f->offset >= f->desc->size)
			return true;
		/* it ended as it said, and too early: as if it had broken */
		*ret_again = true;
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "short read: expected %" PRId64 " bytes but got %" PRId64 ": unexpected EOF",
		                 f->desc->size, f->offset);
	}
	*ret_again = failure == HTTP_CLOSED || failure == HTTP_TIMEOUT;
	f->stalled = failure == HTTP_TIMEOUT;
	return false;
}

/* Tries each host, beginning with the one that was good last; *ret_again as above. One that breaks without
 * having brought anything is not the first to be asked again. */
static bool fetch_from_hosts(Fetch *f, const char *place, bool *ret_again, GError **error)
{
	const char *const parts[] = {place, f->desc->digest, NULL};
	g_autoptr(GError) first = NULL;
	for (guint n = 0; n < f->hosts->len; n++) {
		guint i = (f->first + n) % f->hosts->len;
		g_autoptr(Request) req = request_new(f->r, f->hosts->pdata[i], "GET", parts);
		request_scope(req, f->r->scope_pull);
		g_autoptr(GError) e = NULL;
		bool opened = false;
		int64_t before = f->offset;
		bool ok = fetch_once(f, req, n + 1 == f->hosts->len, &opened, ret_again, &e);
		if (ok)
			return true;
		if (opened || error_is(e, CTRD_ERR_CANCELED)) {
			bool brought = f->offset > before && !f->stalled;
			f->first = brought || f->no_range ? i : (i + 1) % f->hosts->len;
			g_propagate_error(error, g_steal_pointer(&e));
			return false;
		}
		error_prefix(&e, "httpReadSeeker: failed open");
		if (first == NULL)
			first = g_steal_pointer(&e);
	}
	if (f->offset > 0 && !f->no_range && !error_is(first, CTRD_ERR_NOT_FOUND)) {
		/* it may be the range that they do not like: all of it once more, without what is there */
		f->no_range = *ret_again = true;
		g_propagate_error(error, g_steal_pointer(&first));
		return false;
	}
	if (error_is(first, CTRD_ERR_NOT_FOUND))
		return error_set_class(
		        error, CTRD_ERR_NOT_FOUND,
		        "httpReadSeeker: failed open: could not fetch content descriptor %s (%s) from remote",
		        f->desc->digest, str_or(f->desc->media_type, ""));
	g_propagate_error(error, g_steal_pointer(&first));
	return false;
}

/* Whoever wrote the manifest chose these: they get no header of ours, no credentials, and the system's roots.
 * true: the content came, or *error says why not; false without error: no such URL has it. */
static bool fetch_from_urls(Fetch *f, bool *ret_again, GError **error)
{
	for (size_t i = 0; f->desc->urls != NULL && f->desc->urls[i] != NULL; i++) {
		if (!url_is_http(f->desc->urls[i]))
			continue;
		g_autofree char *scheme = url_scheme(f->desc->urls[i]);
		g_autofree char *name = url_host(f->desc->urls[i]);
		g_autoptr(RegistryHost) host = registry_host_new(scheme, name, "", REGISTRY_PULL);
		g_autoptr(Request) req = request_new_url(f->r, host, "GET", f->desc->urls[i]);
		req->plain_headers = true;
		g_autoptr(GError) e = NULL;
		bool opened = false;
		if (fetch_once(f, req, false, &opened, ret_again, &e))
			return true;
		if (!error_is(e, CTRD_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&e));
			return true;
		}
	}
	return false;
}

static bool fetch_try(Fetch *f, bool *ret_again, GError **error)
{
	*ret_again = false;
	GError *e = NULL;
	if (fetch_from_urls(f, ret_again, &e)) {
		if (e != NULL)
			g_propagate_error(error, e);
		return e == NULL;
	}
	bool manifest =
	        media_type_is_manifest(f->desc->media_type) || media_type_is_index(f->desc->media_type);
	return fetch_from_hosts(f, manifest ? "manifests" : "blobs", ret_again, error);
}

/* Those that lied come last. */
static GPtrArray *trusted_first(Resolver *r)
{
	g_autoptr(GPtrArray) all = resolver_hosts_with(r, REGISTRY_PULL);
	GPtrArray *sorted = g_ptr_array_new();
	for (int lied = 0; lied < 2; lied++)
		for (guint i = 0; i < all->len; i++)
			if (atomic_load(&((RegistryHost *)all->pdata[i])->lied) == (lied == 1))
				g_ptr_array_add(sorted, all->pdata[i]);
	return sorted;
}

bool resolver_fetch(Resolver *r, Cancel *cancel, const Descriptor *desc, int64_t offset, ByteSink sink,
                    void *data, GError **error)
{
	if (!digest_validate(desc->digest, error))
		return false;
	g_autoptr(GPtrArray) hosts = trusted_first(r);
	if (hosts->len == 0)
		return error_set_class(error, CTRD_ERR_NOT_FOUND, "no pull hosts");
	Fetch f = {
	        .r = r,
	        .cancel = cancel,
	        .desc = desc,
	        .hosts = hosts,
	        .offset = offset,
	        .sink = sink,
	        .data = data,
	};
	bool ok = desc->size > 0 && offset >= desc->size;
	for (int stalled = 0; !ok;) {
		g_autoptr(GError) e = NULL;
		bool again = false;
		f.stalled = false;
		int64_t before = f.offset;
		ok = fetch_try(&f, &again, &e);
		int64_t brought = f.offset - before;
		if (brought > (f.stalled ? PROGRESS_MIN : 0))
			stalled = 0;
		if (f.stalled)
			stalled += 2; // that takes long enough
		else if (brought == 0)
			stalled++;
		if (!ok && again && desc->size > 0 && f.offset == desc->size) {
			ok = true; // broken after the last byte
		} else if (!ok && (!again || stalled > STALLED_MAX)) {
			g_propagate_error(error, g_steal_pointer(&e));
			break;
		} else if (!ok) {
			log_debug("download broke, resuming", "digest", desc->digest, "error", e->message,
			          NULL);
			if (stalled > 0 && !cancel_sleep(cancel, (100 * NS_PER_MS) << stalled, error))
				break;
		}
	}
	g_clear_pointer(&f.decoder, decompressor_free);
	return ok;
}

bool resolver_distrust(Resolver *r, const char *digest)
{
	RegistryHost *host;
	bool tried_all;
	{
		LOCK_SCOPE(&r->lock);
		Source *source = g_hash_table_lookup(r->sources, digest);
		if (source == NULL)
			return false;
		host = source->host;
		tried_all = ++source->lies >= r->hosts->len;
	}
	if (!atomic_exchange(&host->lied, true))
		log_warn("a registry's content is not what was asked for", "host", host->host, "digest",
		         digest, NULL);
	if (tried_all)
		return false;
	for (guint i = 0; i < r->hosts->len; i++) {
		RegistryHost *h = r->hosts->pdata[i];
		if ((h->capabilities & REGISTRY_PULL) != 0 && !atomic_load(&h->lied))
			return true;
	}
	return false;
}
