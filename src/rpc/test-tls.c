// SPDX-License-Identifier: Apache-2.0

/* The gRPC server over TLS, against OpenSSL's client; our client speaks to it through a pump. */

#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "base/util.h"
#include "loop/thread.h"
#include "rpc/test-raw.h"
#include "rpc/tls.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- certificates ---- */

static char *dir;

static char *in_dir(const char *name)
{
	return path_join(dir, name);
}

static void write_pem(const char *name, EVP_PKEY *key, X509 *cert)
{
	g_autofree char *path = in_dir(name);
	BIO *bio = BIO_new_file(path, "w");

	g_assert_true(key != NULL ? PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1
	                          : PEM_write_bio_X509(bio, cert) == 1);
	BIO_free(bio);
}

/* NAME.crt and NAME.key, signed by itself. */
static void make_cert(const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);
	g_autofree char *crt = g_strconcat(name, ".crt", NULL), *pem = g_strconcat(name, ".key", NULL);

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(cert, subject);
	X509_set_pubkey(cert, key);
	g_assert_cmpint(X509_sign(cert, key, EVP_sha256()), >, 0);
	write_pem(crt, NULL, cert);
	write_pem(pem, key, NULL);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static RpcTls *load(const char *cert, const char *key, const char *ca, GError **error)
{
	g_autofree char *c = in_dir(cert), *k = in_dir(key), *a = ca != NULL ? in_dir(ca) : NULL;

	return rpc_tls_new(c, k, a, error);
}

/* ---- set-up ---- */

typedef struct {
	RawServer raw;
	RpcTls *tls;
	char *path;
} Fixture;

static void setup(Fixture *f, const void *ca)
{
	g_autoptr(GError) error = NULL;

	raw_server_start(&f->raw, NULL);
	f->tls = load("server.crt", "server.key", ca, &error);
	g_assert_no_error(error);
	f->path = in_dir("s.sock");
	int fd = rpc_listen_unix(f->path, 0600, geteuid(), getegid(), &error);
	g_assert_no_error(error);
	g_assert_true(rpc_server_listen_tls(f->raw.server, fd, f->tls, &error));
}

static void teardown(Fixture *f, const void *ca)
{
	raw_server_stop(&f->raw);
	rpc_tls_free(f->tls);
	g_free(f->path);
}

static int dial(const Fixture *f)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
	g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

/* ---- a client of OpenSSL ---- */

typedef struct {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
} Client;

static void client_open(Client *c, const Fixture *f, const char *alpn, const char *cert, int max_version)
{
	c->fd = dial(f);
	c->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_max_proto_version(c->ctx, max_version);
	if (cert != NULL) {
		g_autofree char *crt = g_strconcat(dir, "/", cert, ".crt", NULL);
		g_autofree char *key = g_strconcat(dir, "/", cert, ".key", NULL);

		g_assert_cmpint(SSL_CTX_use_certificate_file(c->ctx, crt, SSL_FILETYPE_PEM), ==, 1);
		g_assert_cmpint(SSL_CTX_use_PrivateKey_file(c->ctx, key, SSL_FILETYPE_PEM), ==, 1);
	}
	c->ssl = SSL_new(c->ctx);
	SSL_set_fd(c->ssl, c->fd);
	if (alpn != NULL)
		SSL_set_alpn_protos(c->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
}

static void client_close(Client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	fd_close(&c->fd);
	ERR_clear_error();
}

/* Moves bytes both ways until one side ends. */
typedef struct {
	Client client;
	int plain;
} Pump;

static bool pump_in(Pump *p)
{
	char buf[16384];
	int n = SSL_read(p->client.ssl, buf, sizeof(buf));

	return n > 0 && fd_write_all(p->plain, buf, (size_t)n, NULL);
}

static bool pump_out(Pump *p)
{
	char buf[16384];
	ssize_t n = read(p->plain, buf, sizeof(buf));

	return n > 0 && SSL_write(p->client.ssl, buf, (int)n) == (int)n;
}

static void *pump_thread(void *data)
{
	Pump *p = data;
	struct pollfd fds[2] = {{.fd = p->client.fd, .events = POLLIN}, {.fd = p->plain, .events = POLLIN}};
	bool go = SSL_connect(p->client.ssl) == 1;

	while (go) {
		if (SSL_pending(p->client.ssl) > 0) {
			go = pump_in(p);
			continue;
		}
		poll(fds, 2, -1);
		if (fds[1].revents != 0)
			go = pump_out(p);
		if (go && fds[0].revents != 0)
			go = pump_in(p);
	}
	shutdown(p->plain, SHUT_RDWR);
	return NULL;
}

typedef struct {
	Pump pump;
	pthread_t thread;
	Loop *loop;
	RpcClient *rpc;
} Session;

static void session_open(Session *s, const Fixture *f, const char *cert, int max_version)
{
	int fds[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), ==, 0);
	client_open(&s->pump.client, f, "\x08http/1.1\x02h2", cert, max_version);
	s->pump.plain = fds[0];
	s->loop = loop_start("client");
	s->rpc = rpc_client_new_fd(s->loop, RPC_PROTO_GRPC, fds[1]);
	g_assert_cmpint(thread_start(&s->thread, "pump", 0, pump_thread, &s->pump), ==, 0);
}

static void session_close(Session *s)
{
	rpc_client_unref(s->rpc);
	pthread_join(s->thread, NULL);
	loop_stop_join(s->loop);
	client_close(&s->pump.client);
	fd_close(&s->pump.plain);
}

static void assert_echo(Session *s, size_t len)
{
	g_autofree char *data = g_malloc(len + 1);
	g_autoptr(GError) error = NULL;
	autopb TestMsg *answer = NULL;

	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 7 >> 3);
	TestMsg request = test_msg(data, len);
	rpc_client_call(s->rpc, test_descriptor, "Echo", NULL, &request, &answer, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(answer->value.len, ==, len);
	g_assert_true(len == 0 || memcmp(answer->value.data, data, len) == 0);
}

static void use_version(const Fixture *f, int version)
{
	Session s = {0};

	session_open(&s, f, NULL, version);
	assert_echo(&s, 0);
	assert_echo(&s, 5);
	assert_echo(&s, 100000);
	assert_echo(&s, (size_t)4 * 1024 * 1024); // more than any buffer on the way
	g_assert_cmpint(SSL_version(s.pump.client.ssl), ==, version);
	// Many small messages in one stream.
	g_autoptr(GError) error = NULL;
	TestMsg request = test_text("5000 10"), *message = NULL;
	g_autoptr(RpcStream) stream =
	        rpc_client_stream(s.rpc, test_descriptor, "Count", RPC_SERVER_STREAM, NULL, &request, &error);
	g_assert_no_error(error);
	unsigned n = 0;
	while (rpc_stream_recv(stream, &message, &error) && message != NULL) {
		n++;
		protobuf_c_message_free_unpacked(&message->base, NULL);
		message = NULL;
	}
	g_assert_no_error(error);
	g_assert_cmpuint(n, ==, 5000);
	g_clear_pointer(&stream, rpc_stream_free);
	session_close(&s);
}

static void test_calls(Fixture *f, const void *ca)
{
	use_version(f, TLS1_2_VERSION);
	use_version(f, TLS1_3_VERSION);
}

/* The handshake fails, or the first read after it does (TLS 1.3 tells a client only then). */
static void assert_refused(const Fixture *f, const char *alpn, const char *cert, int max_version)
{
	Client c = {0};
	char byte;

	client_open(&c, f, alpn, cert, max_version);
	bool ok = SSL_connect(c.ssl) == 1 && SSL_write(c.ssl, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24) == 24;
	for (int i = 0; ok && i < 1000; i++) // the server's SETTINGS must not come
		ok = SSL_read(c.ssl, &byte, 1) == 1;
	g_assert_false(ok);
	client_close(&c);
}

static void test_protocols(Fixture *f, const void *ca)
{
	assert_refused(f, "\x08http/1.1", NULL, TLS1_3_VERSION);
	assert_refused(f, "\x08http/1.1", NULL, TLS1_2_VERSION);
	assert_refused(f, NULL, NULL, TLS1_3_VERSION);
	assert_refused(f, NULL, NULL, TLS1_2_VERSION);
	assert_refused(f, "\x02h2", NULL, TLS1_1_VERSION);
	use_version(f, TLS1_3_VERSION); // and nobody else was harmed
}

static void test_client_cert(Fixture *f, const void *ca)
{
	Session s = {0};

	assert_refused(f, "\x02h2", NULL, TLS1_3_VERSION);
	assert_refused(f, "\x02h2", NULL, TLS1_2_VERSION);
	assert_refused(f, "\x02h2", "other", TLS1_3_VERSION);
	session_open(&s, f, "client", TLS1_3_VERSION);
	assert_echo(&s, 5);
	session_close(&s);
}

/* No TLS at all, nonsense in a record, a client that leaves in the handshake. */
static void test_garbage(Fixture *f, const void *ca)
{
	static const char *const texts[] = {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
	                                    "\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff",
	                                    "\x17\x03\x03\x40\xff"};

	for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
		autofd fd = dial(f);
		g_autofree char *rest = NULL;

		g_assert_true(fd_write_all(fd, texts[i], i < 2 ? strlen(texts[i]) : i == 2 ? 10 : 5, NULL));
		shutdown(fd, SHUT_WR);
		fd_read_all(fd, 65536, &rest, NULL, NULL); // an alert or a reset; never a hang
	}
	autofd gone = dial(f);
	fd_close(&gone);
	use_version(f, TLS1_3_VERSION);
}

static void assert_load_error(const char *cert, const char *key, const char *ca, const char *format)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *text = g_strdup_printf("%s", format);
	g_autoptr(GString) expected = g_string_new(text);

	g_string_replace(expected, "DIR", dir, 0);
	g_assert_null(load(cert, key, ca, &error));
	g_assert_cmpstr(error->message, ==, expected->str);
}

static void test_load_errors(void)
{
	assert_load_error("none", "server.key", NULL, "open DIR/none: no such file or directory");
	assert_load_error("server.crt", "none", NULL, "open DIR/none: no such file or directory");
	assert_load_error("server.crt", "client.key", NULL, "tls: private key does not match public key");
	assert_load_error("server.key", "server.key", NULL,
	                  "tls: failed to find a certificate in DIR/server.key: no start line");
	assert_load_error("server.crt", "server.crt", NULL,
	                  "tls: failed to find a private key in DIR/server.crt: unsupported");
	assert_load_error("server.crt", "server.key", "none",
	                  "failed to load CA file: open DIR/none: no such file or directory");
	assert_load_error("server.crt", "server.key", "server.key",
	                  "failed to load CA file: no certificate in DIR/server.key");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	signal(SIGPIPE, SIG_IGN); // of the clients here; the server sends without it
	dir = g_dir_make_tmp("test-tls.XXXXXX", NULL);
	make_cert("server");
	make_cert("client");
	make_cert("other");
	g_test_add("/tls/calls", Fixture, NULL, setup, test_calls, teardown);
	g_test_add("/tls/protocols", Fixture, NULL, setup, test_protocols, teardown);
	g_test_add("/tls/client-cert", Fixture, "client.crt", setup, test_client_cert, teardown);
	g_test_add("/tls/garbage", Fixture, NULL, setup, test_garbage, teardown);
	g_test_add_func("/tls/load-errors", test_load_errors);
	int result = g_test_run();
	tree_remove(dir, NULL);
	g_free(dir);
	return result;
}
