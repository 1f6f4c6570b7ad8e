// SPDX-License-Identifier: Apache-2.0

#include "store/content-suite.h"
#include "base/error.h"
#include "base/fs.h"
#include "store/test-env.h"
#include <string.h>

#define EMPTY_DIGEST "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

typedef struct {
	const ContentSuite *suite;
	ContentStore *store;
	void *state;
	Ctx ctx;
} Fixture;

typedef void (*CaseFn)(Fixture *f);
typedef struct {
	const ContentSuite *suite;
	CaseFn fn;
} Case;

static Ctx next_ctx(Fixture *f, bool shareable)
{
	return f->suite->next_ctx != NULL ? f->suite->next_ctx(f->state, shareable) : (Ctx){0};
}

static void run_case(const void *data)
{
	const Case *c = data;
	g_autofree char *dir = g_dir_make_tmp("ctrd-content-XXXXXX", NULL);
	Fixture f = {.suite = c->suite};
	f.store = c->suite->open(dir, &f.state);
	f.ctx = next_ctx(&f, false);
	c->fn(&f);
	c->suite->close(f.store, f.state);
	g_assert_true(tree_remove(dir, NULL));
}

static void add_case(const ContentSuite *suite, const char *name, CaseFn fn)
{
	g_autofree char *path = g_strdup_printf("/content/%s/%s", suite->name, name);
	Case *c = g_new0(Case, 1);
	*c = (Case){suite, fn};
	g_test_add_data_func_full(path, c, run_case, g_free);
}

/* ---- helpers ---- */

void *content_suite_bytes(size_t len, char **ret_digest)
{
	static guint32 seed = 1;
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed++);
	unsigned char *data = g_malloc(len + 1);
	for (size_t i = 0; i < len; i++)
		data[i] = (unsigned char)g_rand_int(rand);
	if (ret_digest != NULL)
		*ret_digest = digest_bytes(data, len);
	return data;
}

static ContentWriter *open_writer(Fixture *f, const Ctx *ctx, const char *ref, int64_t size,
                                  const char *digest)
{
	g_autoptr(GError) error = NULL;
	Descriptor desc = {.size = size, .digest = (char *)digest};
	ContentWriter *w = content_open_writer(f->store, ctx, ref, &desc, &error);
	g_assert_no_error(error);
	return w;
}

static void write_all(ContentWriter *w, const void *data, size_t len)
{
	g_autoptr(GError) error = NULL;
	g_assert_true(content_write(w, data, len, &error));
	g_assert_no_error(error);
}

static void write_chunked(ContentWriter *w, const char *data, size_t len, size_t chunk)
{
	for (size_t done = 0; done < len; done += MIN(chunk, len - done))
		write_all(w, data + done, MIN(chunk, len - done));
}

static void commit(ContentWriter *w, const Ctx *ctx, int64_t size, const char *expected, GHashTable *labels)
{
	g_autoptr(GError) error = NULL;
	g_assert_true(content_commit(w, ctx, size, expected, labels, &error));
	g_assert_no_error(error);
}

static void commit_fails(ContentWriter *w, const Ctx *ctx, int64_t size, const char *expected,
                         CtrdErrorCode class)
{
	g_autoptr(GError) error = NULL;
	g_assert_false(content_commit(w, ctx, size, expected, NULL, &error));
	g_assert_cmpint(error_class(error), ==, class);
}

static void assert_digest(ContentWriter *w, const char *expected)
{
	g_autofree char *digest = content_writer_digest(w);
	g_assert_cmpstr(digest, ==, expected);
}

static void put_blob(Fixture *f, const Ctx *ctx, const char *ref, const void *data, size_t len,
                     const char *digest)
{
	g_autoptr(GError) error = NULL;
	Descriptor desc = {.size = (int64_t)len, .digest = (char *)digest};
	g_assert_true(content_write_blob(f->store, ctx, ref, data, len, &desc, NULL, &error));
	g_assert_no_error(error);
}

typedef struct {
	TimeNs c1, c2, u1, u2;
} Times;

static void check_info(Fixture *f, const Ctx *ctx, const char *digest, int64_t size, GHashTable *labels,
                       Times t)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(ContentInfo) info = content_info(f->store, ctx, digest, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(info->digest, ==, digest);
	g_assert_cmpint(info->size, ==, size);
	g_assert_cmpint(info->created_at, >=, t.c1);
	g_assert_cmpint(info->created_at, <=, t.c2);
	g_assert_cmpint(info->updated_at, >=, t.u1);
	g_assert_cmpint(info->updated_at, <=, t.u2);
	if (f->suite->has_labels)
		g_assert_true(strmap_equal(info->labels, labels));
}

static void check_content(Fixture *f, const Ctx *ctx, const char *digest, int64_t size, Times t)
{
	check_info(f, ctx, digest, size, NULL, t);
	g_autoptr(GError) error = NULL;
	g_autofree char *data = NULL;
	size_t len;
	Descriptor desc = {.digest = (char *)digest};
	g_assert_true(content_read_blob(f->store, ctx, &desc, 1 << 20, &data, &len, &error));
	g_assert_cmpint((int64_t)len, ==, size);
	g_autofree char *actual = digest_bytes(data, len);
	g_assert_cmpstr(actual, ==, digest);
}

static void check_status(ContentWriter *w, const char *ref, int64_t offset, int64_t total, const char *digest,
                         Times t)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(ContentStatus) status = NULL;
	g_assert_true(content_writer_status(w, &status, &error));
	assert_digest(w, digest);
	g_assert_cmpstr(status->ref, ==, ref);
	g_assert_cmpint(status->offset, ==, offset);
	g_assert_cmpint(status->total, ==, total);
	g_assert_cmpint(status->started_at, >=, t.c1);
	g_assert_cmpint(status->started_at, <=, t.c2);
	g_assert_cmpint(status->updated_at, >=, t.u1);
	g_assert_cmpint(status->updated_at, <=, t.u2);
}

static void check_ref_not_available(Fixture *f, const char *ref)
{
	g_autoptr(GError) error = NULL;
	g_assert_null(content_writer(f->store, &f->ctx, ref, NULL, &error));
	g_assert_true(error_is(error, CTRD_ERR_UNAVAILABLE));
	g_assert_nonnull(strstr(error->message, " locked for "));
}

static GHashTable *root_labels(void)
{
	return test_labels("containerd.io/gc.root", "2026-01-02T03:04:05Z", NULL);
}

/* ---- cases ---- */

static void case_writer(Fixture *f)
{
	static const size_t sizes[] = {256, 256, 256, 256, 16 << 20};
	g_autoptr(GHashTable) labels = root_labels();
	ContentWriter *writers[5];
	char *digests[5], *data[5];
	for (int i = 0; i < 5; i++) {
		g_autofree char *ref = g_strdup_printf("c%d", i + 1);
		data[i] = content_suite_bytes(sizes[i], &digests[i]);
		writers[i] = open_writer(f, &f->ctx, ref, i == 1 || i >= 3 ? (int64_t)sizes[i] : 0,
		                         i >= 2 ? digests[i] : NULL);
	}
	for (int i = 0; i < 5; i++) {
		write_chunked(writers[i], data[i], sizes[i], i == 4 ? 32768 : 32);
		Times t = {.c1 = time_now()};
		commit(writers[i], &f->ctx, 0, NULL, labels);
		t.c2 = time_now();
		t.u1 = t.c1, t.u2 = t.c2;
		assert_digest(writers[i], digests[i]);
		check_info(f, &f->ctx, digests[i], (int64_t)sizes[i], labels, t);
		content_writer_close(writers[i]);
		g_free(digests[i]);
		g_free(data[i]);
	}
}

static void case_update_status(Fixture *f)
{
	static const size_t ends[] = {64, 192, 256};
	g_autofree char *digest = NULL, *data = content_suite_bytes(256, &digest);
	Times t = {.c1 = time_now()};
	g_autoptr(ContentWriter) w = open_writer(f, &f->ctx, "c1", 256, digest);
	t.c2 = time_now();
	t.u1 = t.c1, t.u2 = t.c2;
	check_status(w, "c1", 0, 256, EMPTY_DIGEST, t);
	size_t done = 0;
	for (int i = 0; i < 3; i++) {
		t.u1 = time_now();
		write_all(w, data + done, ends[i] - done);
		t.u2 = time_now();
		done = ends[i];
		g_autofree char *so_far = digest_bytes(data, done);
		check_status(w, "c1", (int64_t)done, 256, so_far, t);
	}
	g_autoptr(GHashTable) labels = root_labels();
	t.c1 = t.u1 = time_now();
	commit(w, &f->ctx, 0, NULL, labels);
	t.c2 = t.u2 = time_now();
	check_info(f, &f->ctx, digest, 256, labels, t);
}

static void case_commit_exists(Fixture *f)
{
	g_autofree char *digest = NULL, *data = content_suite_bytes(256, &digest);
	put_blob(f, &f->ctx, "c1", data, 256, digest);
	for (int i = 0; i < 2; i++) {
		g_autofree char *ref = g_strdup_printf("c1-commitexists-%d", i);
		g_autoptr(ContentWriter) w = open_writer(f, &f->ctx, ref, 0, NULL);
		write_all(w, data, 256);
		commit_fails(w, &f->ctx, 256, i == 0 ? digest : NULL, CTRD_ERR_ALREADY_EXISTS);
	}
}

static void case_resume(Fixture *f)
{
	g_autofree char *digest = NULL, *data = content_suite_bytes(256, &digest);
	g_autofree char *first = digest_bytes(data, 128);
	Times t = {.c1 = time_now()};
	ContentWriter *w = open_writer(f, &f->ctx, "cb", 256, digest);
	t.c2 = t.u1 = time_now();
	write_all(w, data, 128);
	t.u2 = time_now();
	check_status(w, "cb", 128, 256, first, t);
	content_writer_close(w);

	w = open_writer(f, &f->ctx, "cb", 256, digest);
	check_status(w, "cb", 128, 256, first, t);
	t.u1 = time_now();
	write_all(w, data + 128, 128);
	t.u2 = time_now();
	check_status(w, "cb", 256, 256, digest, t);
	t.c1 = t.u1 = time_now();
	commit(w, &f->ctx, 0, NULL, NULL);
	t.c2 = t.u2 = time_now();
	content_writer_close(w);
	check_info(f, &f->ctx, digest, 256, NULL, t);
}

typedef void (*ResumeFn)(Fixture *f, ContentWriter *w, const char *data, size_t written, size_t size,
                         const char *digest);

static void resume_truncate(Fixture *f, ContentWriter *w, const char *data, size_t written, size_t size,
                            const char *digest)
{
	g_autoptr(GError) error = NULL;
	g_assert_true(content_truncate(w, 0, &error));
	write_chunked(w, data, size, 1024);
	commit(w, &f->ctx, (int64_t)size, digest, NULL);
}

static void resume_discard(Fixture *f, ContentWriter *w, const char *data, size_t written, size_t size,
                           const char *digest)
{
	write_chunked(w, data + written, size - written, 1024);
	commit(w, &f->ctx, (int64_t)size, digest, NULL);
}

/* Upstream's three kinds of copies come down to one helper here, that is given the whole. */
static void resume_copy(Fixture *f, ContentWriter *w, const char *data, size_t written, size_t size,
                        const char *digest)
{
	g_autoptr(ContentStatus) status = NULL;
	g_assert_true(content_writer_status(w, &status, NULL));
	write_all(w, data + status->offset, size - (size_t)status->offset);
	commit(w, &f->ctx, (int64_t)size, digest, NULL);
}

static void check_resume(Fixture *f, ResumeFn fn)
{
	static const size_t sizes[] = {500, 5000, 50000};
	static const double truncations[] = {0.0, 0.1, 0.5, 0.9, 1.0};
	for (size_t i = 0; i < G_N_ELEMENTS(sizes) * G_N_ELEMENTS(truncations); i++) {
		size_t size = sizes[i / G_N_ELEMENTS(truncations)];
		size_t limit = (size_t)((double)size * truncations[i % G_N_ELEMENTS(truncations)]);
		g_autofree char *digest = NULL, *data = content_suite_bytes(size, &digest);
		g_autofree char *ref = g_strdup_printf("ref-%zu", i);
		ContentWriter *w = open_writer(f, &f->ctx, ref, (int64_t)size, digest);
		write_all(w, data, limit);
		content_writer_close(w);
		w = open_writer(f, &f->ctx, ref, (int64_t)size, digest);
		g_autoptr(ContentStatus) status = NULL;
		g_assert_true(content_writer_status(w, &status, NULL));
		g_assert_cmpint(status->offset, ==, (int64_t)limit);
		Times t = {.c1 = time_now()};
		fn(f, w, data, limit, size, digest);
		t.c2 = time_now();
		t.u1 = t.c1, t.u2 = t.c2;
		content_writer_close(w);
		check_info(f, &f->ctx, digest, (int64_t)size, NULL, t);
	}
}

static void case_resume_truncate(Fixture *f)
{
	check_resume(f, resume_truncate);
}

static void case_resume_discard(Fixture *f)
{
	check_resume(f, resume_discard);
}

static void case_resume_copy(Fixture *f)
{
	check_resume(f, resume_copy);
}

/* The helper takes up what another try left. */
static void case_resume_write_blob(Fixture *f)
{
	g_autofree char *digest = NULL, *data = content_suite_bytes(5000, &digest);
	ContentWriter *w = open_writer(f, &f->ctx, "ref", 5000, digest);
	write_all(w, data, 1234);
	content_writer_close(w);
	put_blob(f, &f->ctx, "ref", data, 5000, digest);
	check_content(f, &f->ctx, digest, 5000, (Times){.c2 = INT64_MAX, .u2 = INT64_MAX});
}

static void case_small_blob(Fixture *f)
{
	static const char blob[] = "foobar";
	g_autoptr(GError) error = NULL;
	g_autofree char *digest = digest_bytes(blob, 6);
	g_autoptr(ContentWriter) w = open_writer(f, &f->ctx, "small", 6, digest);
	write_all(w, blob, 6);
	commit(w, &f->ctx, 6, digest, NULL);
	Descriptor desc = {.digest = digest};
	g_autoptr(ContentReader) reader = content_reader(f->store, &f->ctx, &desc, &error);
	char buf[16];
	g_assert_cmpint(reader->size, ==, 6);
	g_assert_cmpint(content_read_at(reader, buf, sizeof(buf), 0, &error), ==, 6);
	g_assert_cmpmem(buf, 6, blob, 6);
	g_assert_cmpint(content_read_at(reader, buf, sizeof(buf), 4, &error), ==, 2);
	g_assert_cmpint(content_read_at(reader, buf, sizeof(buf), 6, &error), ==, 0);
}

static void case_labels(Fixture *f)
{
	g_autofree char *digest = NULL, *data = content_suite_bytes(256, &digest);
	g_autoptr(GError) error = NULL;
	g_autoptr(ContentWriter) w = open_writer(f, &f->ctx, "c1-checklabels", 256, digest);
	write_all(w, data, 256);
	g_autoptr(GHashTable) labels = root_labels();
	strmap_set(labels, "k1", "v1");
	strmap_set(labels, "k2", "v2");
	Times t = {.c1 = time_now()};
	commit(w, &f->ctx, 0, NULL, labels);
	t.c2 = time_now();
	t.u1 = t.c1, t.u2 = t.c2;
	check_info(f, &f->ctx, digest, 256, labels, t);

	ContentInfo info = {.digest = digest, .labels = labels};
	if (!f->suite->has_labels) {
		g_assert_null(content_update(f->store, &f->ctx, &info, NULL, &error));
		g_assert_true(error_is(error, CTRD_ERR_FAILED_PRECONDITION));
		return;
	}
	strmap_set(labels, "k1", "newvalue");
	g_hash_table_remove(labels, "k2");
	strmap_set(labels, "k3", "v3");
	t.u1 = time_now();
	content_info_free(content_update(f->store, &f->ctx, &info, NULL, &error));
	g_assert_no_error(error);
	t.u2 = time_now();
	check_info(f, &f->ctx, digest, 256, labels, t);

	g_autoptr(GHashTable) less = root_labels();
	strmap_set(less, "k1", "v1");
	info.labels = less;
	t.u1 = time_now();
	content_info_free(content_update(f->store, &f->ctx, &info,
	                                 (const char *[]){"labels.k3", "labels.k1", NULL}, &error));
	g_assert_no_error(error);
	t.u2 = time_now();
	check_info(f, &f->ctx, digest, 256, less, t);
	g_assert_null(content_update(f->store, &f->ctx, &info, (const char *[]){"size", NULL}, &error));
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
}

static void truncate_and_close(ContentWriter *w)
{
	g_autoptr(GError) error = NULL;
	g_assert_true(content_truncate(w, 0, &error));
	g_assert_no_error(error);
	content_writer_close(w);
}

/* Each failed commit leaves the ref free and what was written there. */
static void case_commit_error_state(Fixture *f)
{
	static const char ref[] = "c1-commiterror-state";
	g_autofree char *d1 = NULL, *c1 = content_suite_bytes(256, &d1);
	g_autofree char *d2 = NULL, *c2 = content_suite_bytes(256, &d2);
	g_assert_nonnull(c2);
	put_blob(f, &f->ctx, "c1", c1, 256, d1);

	for (int i = 0; i < 2; i++) { // it is there already, with and without saying so
		ContentWriter *w = open_writer(f, &f->ctx, ref, 0, NULL);
		check_ref_not_available(f, ref);
		write_all(w, c1, 256);
		commit_fails(w, &f->ctx, 256, i == 0 ? d1 : NULL, CTRD_ERR_ALREADY_EXISTS);
		content_writer_close(w);
	}
	ContentWriter *w = open_writer(f, &f->ctx, ref, 0, NULL);
	check_ref_not_available(f, ref);
	write_all(w, c1, 256);
	write_all(w, "more", 4);
	commit_fails(w, &f->ctx, 260, d2, CTRD_ERR_FAILED_PRECONDITION);
	content_writer_close(w);

	w = open_writer(f, &f->ctx, ref, 0, NULL);
	check_ref_not_available(f, ref);
	commit_fails(w, &f->ctx, 256, NULL, CTRD_ERR_FAILED_PRECONDITION);
	content_writer_close(w);

	w = open_writer(f, &f->ctx, ref, 0, NULL);
	check_ref_not_available(f, ref);
	commit(w, &f->ctx, 260, NULL, NULL);
	content_writer_close(w);

	w = open_writer(f, &f->ctx, ref, 0, NULL);
	write_all(w, c1, 256);
	check_ref_not_available(f, ref);
	commit_fails(w, &f->ctx, 256, d1, CTRD_ERR_ALREADY_EXISTS);
	content_writer_close(w);

	w = open_writer(f, &f->ctx, ref, 0, NULL);
	check_ref_not_available(f, ref);
	truncate_and_close(w);
	truncate_and_close(open_writer(f, &f->ctx, ref, 0, NULL));
}

/* ---- ingests, which upstream's suite leaves to the implementations ---- */

static void case_ingests(Fixture *f)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *data = content_suite_bytes(100, NULL);
	ContentWriter *w = open_writer(f, &f->ctx, "one", 100, NULL);
	write_all(w, data, 60);
	content_writer_close(open_writer(f, &f->ctx, "two", 0, NULL));
	g_autoptr(ContentStatus) status = content_status(f->store, &f->ctx, "one", &error);
	g_assert_cmpstr(status->ref, ==, "one");
	g_assert_cmpint(status->offset, ==, 60);
	g_assert_cmpint(status->total, ==, 100);
	g_autoptr(GPtrArray) all = content_list_statuses(f->store, &f->ctx, NULL, &error);
	g_assert_cmpuint(all->len, ==, 2);
	g_autoptr(GPtrArray) one =
	        content_list_statuses(f->store, &f->ctx, (const char *[]){"ref~=^o", NULL}, &error);
	g_assert_cmpuint(one->len, ==, 1);
	content_writer_close(w);
	g_assert_true(content_abort(f->store, &f->ctx, "one", &error));
	g_assert_null(content_status(f->store, &f->ctx, "one", &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_clear_error(&error);
	w = open_writer(f, &f->ctx, "one", 100, NULL); // anew
	g_autoptr(ContentStatus) fresh = NULL;
	g_assert_true(content_writer_status(w, &fresh, NULL));
	g_assert_cmpint(fresh->offset, ==, 0);
	content_writer_close(w);
	g_assert_null(content_writer(f->store, &f->ctx, "", NULL, &error));
	assert_error(error, CTRD_ERR_INVALID_ARGUMENT, "ref must not be empty: invalid argument");
}

static bool count_info(const ContentInfo *info, void *data, GError **error)
{
	++*(int *)data;
	return true;
}

static bool stop_walk(const ContentInfo *info, void *data, GError **error)
{
	return error_set(error, CTRD_ERR_ABORTED, "enough");
}

static void case_walk_delete(Fixture *f)
{
	g_autoptr(GError) error = NULL;
	g_auto(GStrv) digests = g_new0(char *, 9);
	int n = 0;
	g_assert_true(content_walk(f->store, &f->ctx, NULL, count_info, &n, &error));
	g_assert_cmpint(n, ==, 0);
	for (int i = 0; i < 8; i++) {
		g_autofree char *data = content_suite_bytes(10 + (size_t)i, &digests[i]);
		put_blob(f, &f->ctx, digests[i], data, 10 + (size_t)i, digests[i]);
	}
	g_assert_true(content_walk(f->store, &f->ctx, NULL, count_info, &n, &error));
	g_assert_cmpint(n, ==, 8);
	n = 0;
	g_autofree char *filter = g_strdup_printf("digest==%s", digests[3]);
	g_assert_true(
	        content_walk(f->store, &f->ctx, (const char *[]){filter, NULL}, count_info, &n, &error));
	g_assert_cmpint(n, ==, 1);
	g_assert_false(content_walk(f->store, &f->ctx, NULL, stop_walk, NULL, &error));
	assert_error(error, CTRD_ERR_ABORTED, "enough");
	g_assert_true(content_delete(f->store, &f->ctx, digests[3], &error));
	n = 0;
	g_assert_true(content_walk(f->store, &f->ctx, NULL, count_info, &n, &error));
	g_assert_cmpint(n, ==, 7);
	Descriptor desc = {.digest = digests[3]};
	g_assert_null(content_reader(f->store, &f->ctx, &desc, &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_clear_error(&error);
	g_assert_null(content_info(f->store, &f->ctx, digests[3], &error));
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	g_clear_error(&error);
	g_assert_null(content_info(f->store, &f->ctx, "sha256:abc", &error));
	g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
}

/* Other algorithms, named when the writer is opened or only at the commit. */
static void case_sha512(Fixture *f)
{
	for (int i = 0; i < 2; i++) {
		g_autofree char *data = content_suite_bytes(100000, NULL);
		g_autoptr(Digester) digester = digester_new("sha512");
		digester_update(digester, data, 100000);
		g_autofree char *digest = digester_digest(digester);
		g_autoptr(ContentWriter) w = open_writer(f, &f->ctx, digest, 0, i == 0 ? digest : NULL);
		write_all(w, data, 100000);
		commit(w, &f->ctx, 100000, digest, NULL);
		assert_digest(w, digest);
		check_info(f, &f->ctx, digest, 100000, NULL, (Times){.c2 = INT64_MAX, .u2 = INT64_MAX});
	}
}

/* The empty blob is a blob. */
static void case_empty(Fixture *f)
{
	put_blob(f, &f->ctx, "empty", "", 0, EMPTY_DIGEST);
	check_content(f, &f->ctx, EMPTY_DIGEST, 0, (Times){.c2 = INT64_MAX, .u2 = INT64_MAX});
}

void content_suite_add(const ContentSuite *suite)
{
	add_case(suite, "Writer", case_writer);
	add_case(suite, "UpdateStatus", case_update_status);
	add_case(suite, "CommitExists", case_commit_exists);
	add_case(suite, "Resume", case_resume);
	add_case(suite, "ResumeTruncate", case_resume_truncate);
	add_case(suite, "ResumeDiscard", case_resume_discard);
	add_case(suite, "ResumeCopy", case_resume_copy);
	add_case(suite, "ResumeWriteBlob", case_resume_write_blob);
	add_case(suite, "SmallBlob", case_small_blob);
	add_case(suite, "Labels", case_labels);
	add_case(suite, "CommitErrorState", case_commit_error_state);
	add_case(suite, "Ingests", case_ingests);
	add_case(suite, "WalkDelete", case_walk_delete);
	add_case(suite, "SHA512", case_sha512);
	add_case(suite, "Empty", case_empty);
}

/* ---- several namespaces ---- */

/* A blob of the first namespace is had by another for its digest. */
static void share(Fixture *f, const Ctx *first)
{
	g_autofree char *digest = NULL, *data = content_suite_bytes(1000, &digest);
	Times t = {.c1 = time_now()};
	put_blob(f, first, "ref-1000", data, 1000, digest);
	Ctx second = next_ctx(f, false);
	g_autoptr(ContentWriter) w = open_writer(f, &second, "ref-1000", 1000, digest);
	t.c2 = time_now();
	t.u1 = t.c1, t.u2 = t.c2;
	check_status(w, "ref-1000", 1000, 1000, digest, t);
	commit(w, &second, 1000, digest, NULL);
	t.c2 = t.u2 = time_now();
	check_content(f, first, digest, 1000, t);
	check_content(f, &second, digest, 1000, t);
}

static void case_cross_ns_share(Fixture *f)
{
	share(f, &f->ctx);
}

static void case_shared_ns_isolate(Fixture *f)
{
	Ctx first = next_ctx(f, true);
	share(f, &first);
}

static void case_cross_ns_append(Fixture *f)
{
	static const char extra[] = "appended bytes";
	size_t n = strlen(extra);
	g_autofree char *digest = NULL, *data = content_suite_bytes(1000, &digest);
	g_autofree char *both = g_malloc(1000 + n);
	memcpy(both, data, 1000);
	memcpy(both + 1000, extra, n);
	g_autofree char *digest2 = digest_bytes(both, 1000 + n);
	Times t = {.c1 = time_now()};
	put_blob(f, &f->ctx, "ref-1000", data, 1000, digest);
	Ctx second = next_ctx(f, false);
	g_autoptr(ContentWriter) w = open_writer(f, &second, "ref-1000", 1000, digest);
	t.c2 = time_now();
	t.u1 = t.c1, t.u2 = t.c2;
	check_status(w, "ref-1000", 1000, 1000, digest, t);
	write_all(w, extra, n);
	commit(w, &second, 1000 + (int64_t)n, digest2, NULL);
	t.c2 = t.u2 = time_now();
	check_content(f, &f->ctx, digest, 1000, t);
	check_content(f, &second, digest2, 1000 + (int64_t)n, t);
}

static void case_cross_ns_isolate(Fixture *f)
{
	g_autofree char *digest = NULL, *data = content_suite_bytes(1000, &digest);
	put_blob(f, &f->ctx, "ref-1000", data, 1000, digest);
	Ctx second = next_ctx(f, false);
	Times t = {.c1 = time_now()};
	g_autoptr(ContentWriter) w = open_writer(f, &second, "ref-1000", 1000, digest);
	t.c2 = time_now();
	t.u1 = t.c1, t.u2 = t.c2;
	check_status(w, "ref-1000", 0, 1000, EMPTY_DIGEST, t);
	g_assert_null(content_info(f->store, &second, digest, NULL));
	write_all(w, data, 1000); // having the bytes, it has the blob
	commit(w, &second, 1000, digest, NULL);
	check_content(f, &second, digest, 1000, (Times){.c2 = INT64_MAX, .u2 = INT64_MAX});
}

void content_suite_add_cross_ns_shared(const ContentSuite *suite)
{
	add_case(suite, "CrossNamespaceAppend", case_cross_ns_append);
	add_case(suite, "CrossNamespaceShare", case_cross_ns_share);
}

void content_suite_add_cross_ns_isolated(const ContentSuite *suite)
{
	add_case(suite, "CrossNamespaceIsolate", case_cross_ns_isolate);
}

void content_suite_add_shared_ns_isolated(const ContentSuite *suite)
{
	add_case(suite, "SharedNamespaceIsolate", case_shared_ns_isolate);
}
