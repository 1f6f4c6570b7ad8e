// SPDX-License-Identifier: Apache-2.0
#include "rpc/tls.h"

#include "base/error.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/util.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

/* The suites of TLS 1.2 that HTTP/2 allows (RFC 9113, 9.2.2). */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"
#define PEM_MAX (1024 * 1024)

struct RpcTls {
	SSL_CTX *ctx;
};

typedef struct {
	RpcCrypt crypt; // first
	SSL *ssl;
} Session;

/* ---- the context ---- */

/* The first of OpenSSL's errors, and the queue is empty. */
static const char *ssl_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_error());
	ERR_clear_error();
	return str_or(reason, "unknown error");
}

/* Passphrases are for people; there is none here. */
static int no_password(char *buf, int size, int rwflag, void *data)
{
	return 0;
}

/* What a PEM file holds, for its reader; read whole, so that a missing one is told with its name. */
static BIO *open_pem(const char *path, char **ret_data, GError **error)
{
	size_t len;
	if (!file_read(path, PEM_MAX, ret_data, &len, error))
		return NULL;
	return BIO_new_mem_buf(*ret_data, (int)len);
}

static bool load_cert(SSL_CTX *ctx, const char *path, GError **error)
{
	g_autofree char *data = NULL;
	BIO *bio = open_pem(path, &data, error);
	if (bio == NULL)
		return false;
	X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
	bool ok = cert != NULL && SSL_CTX_use_certificate(ctx, cert) == 1;
	X509_free(cert);
	while (ok && (cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
		ok = SSL_CTX_add1_chain_cert(ctx, cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	if (ok) {
		ERR_clear_error(); // the end of the file is one
		return true;
	}
	return error_set(error, CTRD_ERR_UNKNOWN, "tls: failed to find a certificate in %s: %s", path,
	                 ssl_reason());
}

static bool load_key(SSL_CTX *ctx, const char *path, GError **error)
{
	g_autofree char *data = NULL;
	BIO *bio = open_pem(path, &data, error);
	if (bio == NULL)
		return false;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	BIO_free(bio);
	if (data != NULL)
		explicit_bzero(data, strlen(data));
	if (key == NULL)
		return error_set(error, CTRD_ERR_UNKNOWN, "tls: failed to find a private key in %s: %s", path,
		                 ssl_reason());
	bool ok = SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
	EVP_PKEY_free(key);
	ERR_clear_error();
	return ok || error_set(error, CTRD_ERR_UNKNOWN, "tls: private key does not match public key");
}

/* Whom clients' certificates must come from. A file without any would lock out everybody: an error. */
static bool load_ca(SSL_CTX *ctx, const char *path, GError **error)
{
	g_autofree char *data = NULL;
	BIO *bio = open_pem(path, &data, error);
	X509 *cert;
	unsigned n = 0;
	if (bio == NULL)
		return error_prefix(error, "failed to load CA file");
	while ((cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
		n += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) == 1;
		SSL_CTX_add_client_CA(ctx, cert);
		X509_free(cert);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (n == 0)
		return error_set(error, CTRD_ERR_UNKNOWN, "failed to load CA file: no certificate in %s",
		                 path);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return true;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *data)
{
	for (unsigned i = 0; i < in_len && in[i] < in_len - i; i += in[i] + 1u) {
		if (in[i] != 2 || memcmp(in + i + 1, "h2", 2) != 0)
			continue;
		*out = in + i + 1;
		*out_len = 2;
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

RpcTls *rpc_tls_new(const char *cert, const char *key, const char *ca, GError **error)
{
	g_autoptr(RpcTls) tls = g_new0(RpcTls, 1);
	SSL_CTX *ctx = tls->ctx = SSL_CTX_new(TLS_server_method());
	if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_cipher_list(ctx, CIPHERS) != 1) {
		error_set(error, CTRD_ERR_UNKNOWN, "tls: %s", ssl_reason());
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
	                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	// Sessions are not resumed, so that no ticket outlives the check of a client's certificate.
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	if (!load_cert(ctx, cert, error) || !load_key(ctx, key, error) ||
	    (!str_empty(ca) && !load_ca(ctx, ca, error)))
		return NULL;
	return g_steal_pointer(&tls);
}

void rpc_tls_free(RpcTls *tls)
{
	if (tls == NULL)
		return;
	SSL_CTX_free(tls->ctx);
	g_free(tls);
}

/* ---- a connection ---- */

static void session_feed(RpcCrypt *crypt, const uint8_t *data, size_t len)
{
	Session *s = (Session *)crypt;
	BIO_write(SSL_get_rbio(s->ssl), data, (int)len); // memory: takes all
}

static ssize_t failed(const Session *s, const char *why)
{
	if (!s->crypt.established)
		log_debug("TLS handshake failed", "error", why, NULL);
	ERR_clear_error();
	return -1;
}

/* Without ALPN nothing says that the client speaks HTTP/2. */
static bool is_h2(const SSL *ssl)
{
	const unsigned char *name;
	unsigned len;
	SSL_get0_alpn_selected(ssl, &name, &len);
	return len == 2 && memcmp(name, "h2", 2) == 0;
}

static ssize_t session_read(RpcCrypt *crypt, uint8_t *to, size_t room)
{
	Session *s = (Session *)crypt;
	ERR_clear_error();
	int n = SSL_read(s->ssl, to, (int)room);
	if (!crypt->established && SSL_is_init_finished(s->ssl)) {
		if (!is_h2(s->ssl))
			return failed(s, "the client does not select h2 by ALPN");
		crypt->established = true;
	}
	if (n > 0)
		return n;
	int e = SSL_get_error(s->ssl, n);
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return 0;
	return failed(s, e == SSL_ERROR_ZERO_RETURN
	                         ? "closed"
	                         : str_or(ERR_reason_error_string(ERR_peek_error()), "EOF"));
}

static bool session_write(RpcCrypt *crypt, const uint8_t *data, size_t len)
{
	Session *s = (Session *)crypt;
	ERR_clear_error();
	return SSL_write(s->ssl, data, (int)len) == (int)len;
}

static size_t session_take(RpcCrypt *crypt, uint8_t *to, size_t room)
{
	Session *s = (Session *)crypt;
	int n = BIO_read(SSL_get_wbio(s->ssl), to, (int)room);
	return n > 0 ? (size_t)n : 0;
}

static void session_free(RpcCrypt *crypt)
{
	Session *s = (Session *)crypt;
	SSL_free(s->ssl);
	g_free(s);
}

static const RpcCryptOps session_ops = {
        .feed = session_feed,
        .read = session_read,
        .write = session_write,
        .take = session_take,
        .free = session_free,
};

RpcCrypt *rpc_tls_accept(RpcTls *tls)
{
	Session *s = g_new0(Session, 1);
	s->crypt.ops = &session_ops;
	s->ssl = SSL_new(tls->ctx);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	if (s->ssl == NULL || in == NULL || out == NULL)
		g_error("tls: out of memory");
	BIO_set_mem_eof_return(in, -1); // "try again", not "end"
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(s->ssl, in, out);
	SSL_set_accept_state(s->ssl);
	return &s->crypt;
}
