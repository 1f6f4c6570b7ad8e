// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"
#include "base/error.h"
#include "base/util.h"
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

struct Digester {
	EVP_MD_CTX *ctx;
	const char *algorithm; // static
};

/* Fetched once and kept: EVP_sha256() would look the implementation up at each init. */
static const char *const md_names[] = {"sha256", "sha384", "sha512"};
static EVP_MD *mds[G_N_ELEMENTS(md_names)];

static void fetch_mds(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(md_names); i++) {
		mds[i] = EVP_MD_fetch(NULL, md_names[i], NULL);
		g_assert(mds[i] != NULL);
	}
}

static const EVP_MD *find_md(const char *algorithm, const char **ret_name)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, fetch_mds);
	for (size_t i = 0; i < G_N_ELEMENTS(md_names); i++) {
		if (strcmp(md_names[i], algorithm) == 0) {
			*ret_name = md_names[i];
			return mds[i];
		}
	}
	return NULL;
}

Digester *digester_new(const char *algorithm)
{
	const char *name;
	const EVP_MD *md = find_md(algorithm, &name);
	if (md == NULL)
		return NULL;
	Digester *d = g_new0(Digester, 1);
	d->algorithm = name;
	d->ctx = EVP_MD_CTX_new();
	g_assert(d->ctx != NULL && EVP_DigestInit_ex(d->ctx, md, NULL) == 1);
	return d;
}

void digester_update(Digester *d, const void *data, size_t len)
{
	g_assert(EVP_DigestUpdate(d->ctx, data, len) == 1);
}

static char *format_digest(const char *algorithm, const unsigned char *sum, unsigned len)
{
	static const char hex[] = "0123456789abcdef";
	size_t prefix = strlen(algorithm);
	char *out = g_malloc(prefix + 1 + 2 * (size_t)len + 1);
	memcpy(out, algorithm, prefix);
	char *p = out + prefix;
	*p++ = ':';
	for (unsigned i = 0; i < len; i++) {
		*p++ = hex[sum[i] >> 4];
		*p++ = hex[sum[i] & 15];
	}
	*p = '\0';
	return out;
}

char *digester_digest(Digester *d)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	EVP_MD_CTX *copy = EVP_MD_CTX_new();
	g_assert(copy != NULL && EVP_MD_CTX_copy_ex(copy, d->ctx) == 1 &&
	         EVP_DigestFinal_ex(copy, sum, &len) == 1);
	EVP_MD_CTX_free(copy);
	return format_digest(d->algorithm, sum, len);
}

Digester *digester_copy(Digester *d)
{
	Digester *copy = g_new0(Digester, 1);
	copy->algorithm = d->algorithm;
	copy->ctx = EVP_MD_CTX_new();
	g_assert(copy->ctx != NULL && EVP_MD_CTX_copy_ex(copy->ctx, d->ctx) == 1);
	return copy;
}

void digester_free(Digester *d)
{
	if (d == NULL)
		return;
	EVP_MD_CTX_free(d->ctx);
	g_free(d);
}

char *digest_bytes(const void *data, size_t len)
{
	g_autoptr(Digester) d = digester_new("sha256");
	digester_update(d, data, len);
	return digester_digest(d);
}

char *digest_fd(int fd, GError **error)
{
	enum { BUFFER = 128 * 1024 };
	if (lseek(fd, 0, SEEK_SET) < 0) {
		error_set_errno(error, errno, "seek");
		return NULL;
	}
	g_autofree unsigned char *buffer = g_malloc(BUFFER);
	g_autoptr(Digester) d = digester_new("sha256");
	for (;;) {
		ssize_t n = RETRY_EINTR(read(fd, buffer, BUFFER));
		if (n < 0) {
			error_set_errno(error, errno, "read");
			return NULL;
		}
		if (n == 0)
			return digester_digest(d);
		digester_update(d, buffer, (size_t)n);
	}
}
