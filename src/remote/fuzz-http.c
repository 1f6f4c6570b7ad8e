// SPDX-License-Identifier: Apache-2.0
/*
 * What a registry may answer: the input is split at 0xFF 0xFE into what the server sends on one connection
 * after the other, byte for byte. The first byte says what is asked for.
 */
#include "base/time.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include "oci/media-types.h"
#include "remote/registry-error.h"
#include "remote/resolver.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DEADLINE (60 * NS_PER_MS)

static struct {
	int fd;
	char *host;
	Lock lock;
	const uint8_t *next, *end; // what is still to be sent; under the lock
} server;

/* The request is read as far as it has come, then one part of the input is sent. */
static void serve(int fd)
{
	char request[16384];
	if (recv(fd, request, sizeof(request), 0) <= 0)
		return;
	const uint8_t *part;
	size_t len;
	{
		LOCK_SCOPE(&server.lock);
		part = server.next;
		const uint8_t *split = memmem(part, (size_t)(server.end - part), "\xff\xfe", 2);
		len = (size_t)((split != NULL ? split : server.end) - part);
		server.next = split != NULL ? split + 2 : server.end;
		/* under the lock, for the input goes when it is taken */
		while (len > 0) {
			ssize_t n = send(fd, part, len, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n <= 0)
				break;
			part += n;
			len -= (size_t)n;
		}
	}
	shutdown(fd, SHUT_WR);
}

static void *server_thread(void *data)
{
	for (;;) {
		int fd = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		serve(fd);
		close(fd);
	}
	return NULL;
}

static void server_start(void)
{
	lock_init(&server.lock, "fuzz-server", LOCK_RANK_LEAF);
	server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	g_assert(bind(server.fd, (struct sockaddr *)&addr, len) == 0 && listen(server.fd, 64) == 0);
	g_assert(getsockname(server.fd, (struct sockaddr *)&addr, &len) == 0);
	server.host = g_strdup_printf("127.0.0.1:%d", ntohs(addr.sin_port));
	pthread_t thread;
	g_assert(thread_start(&thread, "fuzz-server", 0, server_thread, NULL) == 0);
}

static void server_give(const uint8_t *data, size_t size)
{
	LOCK_SCOPE(&server.lock);
	server.next = data;
	server.end = data + size;
}

static bool sink(void *data, const void *buf, size_t len, GError **error)
{
	*(int64_t *)data += (int64_t)len;
	return true;
}

static void ask(HttpClient *http, Cancel *cancel)
{
	g_autofree char *url = g_strdup_printf("http://%s/v2/", server.host);
	HttpRequest request = {.method = "GET", .url = url};
	g_autoptr(HttpResponse) r = http_do(http, &request, cancel, NULL, NULL);
	if (r == NULL)
		return;
	g_assert(http_status(r) >= 200 && http_status_text(r) != NULL);
	g_assert(http_content_length(r) >= -1);
	g_autoptr(GPtrArray) links = http_header_values(r, "Link");
	g_autoptr(GError) error = NULL;
	g_assert(!registry_error_response(r, NULL, &error));
}

static void resolve_or_fetch(HttpClient *http, Cancel *cancel, unsigned what)
{
	RegistryOptions registry = {.http = http, .default_scheme = "http"};
	ResolverOptions options = {.http = http, .hosts = registry_hosts, .hosts_data = &registry};
	g_autofree char *ref = g_strdup_printf("%s/a/b:c", server.host);
	g_autoptr(Resolver) resolver = resolver_new(&options, ref, NULL);
	g_assert(resolver != NULL);
	if (what == 1) {
		g_auto(Descriptor) desc = {0};
		if (resolver_resolve(resolver, cancel, &desc, NULL))
			g_assert(desc.digest != NULL && desc.size >= 0);
		return;
	}
	if (what == 4) {
		g_autoptr(GPtrArray) found = resolver_referrers(resolver, cancel, DIGEST, NULL, NULL);
		return;
	}
	Descriptor desc = {
	        .media_type = (char *)MEDIA_TYPE_OCI_LAYER, .digest = (char *)DIGEST, .size = 1000};
	int64_t got = 0;
	int64_t offset = what == 2 ? 0 : 10;
	bool ok = resolver_fetch(resolver, cancel, &desc, offset, sink, &got, NULL);
	g_assert(got <= desc.size - offset && (!ok || got == desc.size - offset));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, server_start);
	if (size == 0)
		return 0;
	server_give(data + 1, size - 1);
	g_autoptr(HttpClient) http = http_client_new(NULL, NULL);
	g_autoptr(Cancel) cancel = cancel_new(NULL);
	cancel_set_deadline(cancel, time_mono() + DEADLINE);
	unsigned what = data[0] % 5;
	if (what == 0)
		ask(http, cancel);
	else
		resolve_or_fetch(http, cancel, what);
	server_give((const uint8_t *)"", 0);
	return 0;
}
