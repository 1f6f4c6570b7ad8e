// SPDX-License-Identifier: Apache-2.0
/*
 * Files are read and checked once, when the settings are made: a pull does not stumble over a file that is
 * replaced meanwhile, and a mistake is told with the file's name. curl takes one client certificate; servers
 * name the authorities they accept, and the right one of several is chosen by a callback of OpenSSL.
 */
#include "base/error.h"
#include "base/fs.h"
#include "base/util.h"
#include "remote/tls-private.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <string.h>

#define PEM_FILE_MAX ((size_t)4 * 1024 * 1024)

typedef struct {
	X509 *cert;
	EVP_PKEY *key;
	STACK_OF(X509) * chain; // what stands behind the certificate in its file
} Pair;

struct HttpTls {
	atomic_int refs;
	GString *roots; // PEM, NULL: the system's only
	Pair *pairs;
	size_t n_pairs;
	bool skip_verify;
};

/* An encrypted key would make OpenSSL ask on the terminal. */
static int no_password(char *buf, int size, int rwflag, void *data)
{
	return 0;
}

static void bio_free(BIO **bio)
{
	BIO_free(*bio);
}
#define autobio __attribute__((cleanup(bio_free))) BIO

static bool pair_parse(Pair *p, const char *cert_pem, const char *key_pem, GError **error)
{
	autobio *certs = BIO_new_mem_buf(cert_pem, -1);
	autobio *key = BIO_new_mem_buf(key_pem, -1);
	p->cert = PEM_read_bio_X509(certs, NULL, no_password, NULL);
	if (p->cert == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "failed to load X509 key pair: tls: failed to find any PEM data in "
		                 "certificate input");
	p->chain = sk_X509_new_null();
	X509 *more;
	while ((more = PEM_read_bio_X509(certs, NULL, no_password, NULL)) != NULL)
		sk_X509_push(p->chain, more);
	p->key = PEM_read_bio_PrivateKey(key, NULL, no_password, NULL);
	if (p->key == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "failed to load X509 key pair: tls: failed to find any PEM data in key "
		                 "input");
	if (X509_check_private_key(p->cert, p->key) != 1)
		return error_set(error, CTRD_ERR_UNKNOWN,
		                 "failed to load X509 key pair: tls: private key does not match public key");
	return true;
}

static bool pair_load(Pair *p, const HttpTlsPair *files, GError **error)
{
	g_autofree char *cert = NULL, *key = NULL;
	const char *key_file = str_empty(files->key) ? files->cert : files->key;
	if (!file_read(files->cert, PEM_FILE_MAX, &cert, NULL, error))
		return error_prefix(error, "unable to read CERT file %s", Q(files->cert));
	if (!file_read(key_file, PEM_FILE_MAX, &key, NULL, error))
		return error_prefix(error, "unable to read CERT file %s", Q(key_file));
	bool ok = pair_parse(p, cert, key, error);
	explicit_bzero(key, strlen(key));
	ERR_clear_error();
	return ok;
}

static bool roots_load(HttpTls *tls, const char *file, GError **error)
{
	g_autofree char *pem = NULL;
	if (!file_read(file, PEM_FILE_MAX, &pem, NULL, error))
		return error_prefix(error, "unable to read CA cert %s", Q(file));
	autobio *bio = BIO_new_mem_buf(pem, -1);
	X509 *first = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
	ERR_clear_error();
	if (first == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "unable to load CA cert %s", Q(file));
	X509_free(first);
	if (tls->roots == NULL)
		tls->roots = g_string_new(NULL);
	g_string_append_printf(tls->roots, "%s\n", pem);
	return true;
}

HttpTls *http_tls_new(const char *const *ca_files, const HttpTlsPair *pairs, size_t n_pairs, bool skip_verify,
                      GError **error)
{
	g_autoptr(HttpTls) tls = g_new0(HttpTls, 1);
	atomic_init(&tls->refs, 1);
	tls->skip_verify = skip_verify;
	for (size_t i = 0; ca_files != NULL && ca_files[i] != NULL; i++)
		if (!roots_load(tls, ca_files[i], error))
			return NULL;
	tls->pairs = g_new0(Pair, MAX(n_pairs, 1));
	for (; tls->n_pairs < n_pairs; tls->n_pairs++)
		if (!pair_load(&tls->pairs[tls->n_pairs], &pairs[tls->n_pairs], error)) {
			tls->n_pairs++; // what it has is freed
			return NULL;
		}
	return g_steal_pointer(&tls);
}

HttpTls *http_tls_ref(HttpTls *tls)
{
	if (tls != NULL)
		atomic_fetch_add(&tls->refs, 1);
	return tls;
}

void http_tls_unref(HttpTls *tls)
{
	if (tls == NULL || atomic_fetch_sub(&tls->refs, 1) != 1)
		return;
	if (tls->roots != NULL)
		g_string_free(tls->roots, TRUE);
	for (size_t i = 0; i < tls->n_pairs; i++) {
		X509_free(tls->pairs[i].cert);
		EVP_PKEY_free(tls->pairs[i].key);
		sk_X509_pop_free(tls->pairs[i].chain, X509_free);
	}
	g_free(tls->pairs);
	g_free(tls);
}

/* Is one of the certificates by one of these authorities? A server that names none takes any. */
static bool pair_suits(const Pair *p, const STACK_OF(X509_NAME) * authorities)
{
	int n = authorities != NULL ? sk_X509_NAME_num(authorities) : 0;
	for (int i = 0; i < n; i++) {
		const X509_NAME *name = sk_X509_NAME_value(authorities, i);
		if (X509_NAME_cmp(name, X509_get_issuer_name(p->cert)) == 0)
			return true;
		for (int j = 0; j < sk_X509_num(p->chain); j++)
			if (X509_NAME_cmp(name, X509_get_issuer_name(sk_X509_value(p->chain, j))) == 0)
				return true;
	}
	return n == 0;
}

/* The server asks for a certificate: the first that suits, or none, as Go's client does. */
static int choose_pair(SSL *ssl, void *data)
{
	const HttpTls *tls = data;
	for (size_t i = 0; i < tls->n_pairs; i++) {
		const Pair *p = &tls->pairs[i];
		if (pair_suits(p, SSL_get0_peer_CA_list(ssl)))
			return SSL_use_cert_and_key(ssl, p->cert, p->key, p->chain, 1) == 1;
	}
	return 1;
}

static CURLcode on_ssl_ctx(CURL *easy, void *ctx, void *data)
{
	SSL_CTX_set_cert_cb(ctx, choose_pair, data);
	return CURLE_OK;
}

void http_tls_apply(HttpTls *tls, CURL *easy)
{
	if (tls == NULL)
		return;
	if (tls->skip_verify) {
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (tls->roots != NULL) {
		/* beside the system's, which curl keeps reading from its directory */
		struct curl_blob blob = {tls->roots->str, tls->roots->len, CURL_BLOB_COPY};
		curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
	}
	if (tls->n_pairs > 0) {
		curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_ctx);
		curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, tls);
		/* curl does not see whom we were in a session: it would be resumed as somebody else */
		curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	}
}
