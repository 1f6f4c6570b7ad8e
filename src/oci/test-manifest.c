// SPDX-License-Identifier: Apache-2.0
#include "base/digest.h"
#include "base/error.h"
#include "base/util.h"
#include "oci/child-labels.h"
#include "oci/labels.h"
#include "oci/manifest.h"
#include "oci/media-types.h"
#include <string.h>

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define DESC(type, digest) "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":7}"

static const char manifest_text[] =
        "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST
        "\",\"config\":" DESC(MEDIA_TYPE_OCI_CONFIG, A) ",\"layers\":[" DESC(
                MEDIA_TYPE_OCI_LAYER_GZIP, B) "," DESC(MEDIA_TYPE_OCI_LAYER,
                                                       C) "],\"annotations\":{\"a\":\"b\"}}";
static const char index_text[] =
        "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_TYPE_OCI_INDEX
        "\",\"manifests\":[{\"mediaType\":\"" MEDIA_TYPE_OCI_MANIFEST "\",\"digest\":\"" A
        "\",\"size\":1,\"platform\":{\"architecture\":\"386\",\"os\":\"linux\"}},{\"mediaType\":"
        "\"" MEDIA_TYPE_OCI_MANIFEST "\",\"digest\":\"" B
        "\",\"size\":1,\"platform\":{\"architecture\":\"amd64\",\"os\":\"linux\"}},{\"mediaType\":"
        "\"" MEDIA_TYPE_OCI_MANIFEST "\",\"digest\":\"" C "\",\"size\":1}]}";

static void test_manifest(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Manifest) m =
	        manifest_parse(manifest_text, strlen(manifest_text), MEDIA_TYPE_OCI_MANIFEST, &error);
	g_assert_no_error(error);
	g_assert_cmpstr(m->config.digest, ==, A);
	g_assert_cmpuint(m->layers->len, ==, 2);
	const Descriptor *layer = m->layers->pdata[0];
	g_assert_cmpstr(layer->media_type, ==, MEDIA_TYPE_OCI_LAYER_GZIP);
	g_assert_cmpint(layer->size, ==, 7);
	g_assert_cmpstr(strmap_get(m->annotations, "a"), ==, "b");
	g_autoptr(JsonObject) o = manifest_to_json(m);
	g_autofree char *again = json_to_text(o);
	g_assert_cmpstr(again, ==, manifest_text);
}

static void test_index(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Index) index = index_parse(index_text, strlen(index_text), MEDIA_TYPE_OCI_INDEX, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(index->manifests->len, ==, 3);
	g_autoptr(JsonObject) o = index_to_json(index);
	g_autofree char *again = json_to_text(o);
	g_assert_cmpstr(again, ==, index_text);
}

static void check_bad(const char *text, const char *media_type, const char *message)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Manifest) m = NULL;
	g_autoptr(Index) index = NULL;
	if (media_type_is_index(media_type))
		index = index_parse(text, strlen(text), media_type, &error);
	else
		m = manifest_parse(text, strlen(text), media_type, &error);
	g_assert_null(m);
	g_assert_null(index);
	g_assert_cmpstr(error->message, ==, message);
}

static void test_kinds(void)
{
	static const char *const manifests[] = {MEDIA_TYPE_DOCKER_MANIFEST, MEDIA_TYPE_OCI_MANIFEST},
	                         *const indexes[] = {MEDIA_TYPE_DOCKER_MANIFEST_LIST, MEDIA_TYPE_OCI_INDEX};
	for (int i = 0; i < 2; i++) {
		g_autofree char *found_index =
		        g_strdup_printf("media-type: expected manifest but found index (%s)", manifests[i]);
		g_autofree char *found_manifest =
		        g_strdup_printf("media-type: expected index but found manifest (%s)", indexes[i]);
		check_bad(index_text, manifests[i], found_index);
		check_bad(manifest_text, indexes[i], found_manifest);
		check_bad("{\"manifests\":null}", manifests[i], found_index);
		check_bad("{\"config\":null}", indexes[i], found_manifest);
		check_bad("{\"layers\":[]}", indexes[i], found_manifest);
		for (int j = 0; j < 2; j++) {
			g_autofree char *says_index = g_strdup_printf("{\"mediaType\":\"%s\"}", indexes[j]);
			g_autofree char *says_manifest =
			        g_strdup_printf("{\"mediaType\":\"%s\"}", manifests[j]);
			check_bad(says_index, manifests[i], found_index);
			check_bad(says_manifest, indexes[i], found_manifest);
			g_assert_true(manifest_validate_media_type(says_index, strlen(says_index), indexes[i],
			                                           NULL));
			g_assert_true(manifest_validate_media_type(says_manifest, strlen(says_manifest),
			                                           manifests[i], NULL));
		}
	}
	check_bad("{\"fsLayers\":[\"1\"]}", "", "media-type: schema 1 not supported");
	check_bad("[]", MEDIA_TYPE_OCI_MANIFEST, "media-type: document is not an object: invalid argument");
}

static void test_bad(void)
{
	const char *mt = MEDIA_TYPE_OCI_MANIFEST;
	check_bad("{}", mt, "manifest: config: descriptor: not an object: invalid argument");
	check_bad("{\"config\":{\"digest\":\"sha256:abc\"}}", mt,
	          "manifest: config: descriptor: digest \"sha256:abc\": invalid checksum digest length");
	check_bad("{\"config\":{}}", mt,
	          "manifest: config: descriptor: digest \"\": invalid checksum digest format");
	check_bad("{\"config\":{\"digest\":\"" A "\",\"size\":-1,\"mediaType\":\"x\"}}", mt,
	          "manifest: config: invalid size -1 in " A " (x): invalid argument");
	check_bad("{\"config\":{\"digest\":\"" A "\",\"size\":9223372036854775808}}", mt,
	          "manifest: config: descriptor: size of " A " is not a number: invalid argument");
	check_bad("{\"config\":{\"digest\":\"" A "\",\"size\":\"1\"}}", mt,
	          "manifest: config: descriptor: size of " A " is not a number: invalid argument");
	check_bad("{\"config\":{\"digest\":\"" A "\",\"data\":\"&\"}}", mt,
	          "manifest: config: descriptor: data is not base64: invalid argument");
	check_bad("{\"layers\":[[]]}", mt,
	          "manifest: layers[0]: descriptor: not an object: invalid argument");
	check_bad("{\"layers\":{}}", mt, "manifest: \"layers\" is not an array: invalid argument");
	check_bad("{\"mediaType\":1}", mt, "manifest: \"mediaType\" is not a string: invalid argument");
	check_bad("{\"annotations\":{\"a\":1}}", mt,
	          "manifest: json: \"annotations\" holds what is no string: invalid argument");
	check_bad("{\"a\":1,\"a\":2}", mt, "json: line 1: key \"a\" stands twice: invalid argument");
	GString *many = g_string_new("{\"layers\":[1");
	for (int i = 0; i < MANIFEST_LAYERS_MAX; i++)
		g_string_append(many, ",1");
	g_string_append(many, "]}");
	check_bad(many->str, mt, "manifest: \"layers\" has more than 1024 elements: invalid argument");
	g_string_free(many, TRUE);
}

static GPtrArray *children(const char *media_type, const char *text)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(Descriptor) d = descriptor_new(media_type, A, 1);
	GPtrArray *list = manifest_children(d, text, strlen(text), &error);
	g_assert_no_error(error);
	return list;
}

static void test_children(void)
{
	g_autoptr(GPtrArray) of_manifest = children(MEDIA_TYPE_OCI_MANIFEST, manifest_text);
	g_assert_cmpuint(of_manifest->len, ==, 3);
	g_assert_cmpstr(((Descriptor *)of_manifest->pdata[0])->digest, ==, A);
	g_autoptr(GPtrArray) of_layer = children(MEDIA_TYPE_OCI_LAYER, "not json");
	g_assert_cmpuint(of_layer->len, ==, 0);
	g_autoptr(GError) error = NULL;
	g_autoptr(Descriptor) d = descriptor_new(MEDIA_TYPE_OCI_INDEX, A, 1);
	g_assert_null(manifest_children(d, manifest_text, strlen(manifest_text), &error));
	g_assert_cmpstr(error->message, ==,
	                "children: invalid desc " A ": media-type: expected index but found manifest "
	                "(" MEDIA_TYPE_OCI_INDEX ")");
}

static void test_platforms(void)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GPtrArray) list = children(MEDIA_TYPE_OCI_INDEX, index_text);
	g_auto(Platform) amd64 = {0}, arm = {0};
	platform_parse("linux/amd64", &amd64, NULL);
	platform_parse("linux/arm", &arm, NULL);
	g_autoptr(PlatformMatcher) m = platform_matcher_only(&amd64);
	PlatformMatcher *other = platform_matcher_only(&arm);
	descriptors_filter_platform(list, NULL);
	descriptors_filter_platform(list, m);
	g_assert_cmpuint(list->len, ==, 3); // amd64, 386 and the one that does not say
	g_assert_true(descriptors_limit_manifests(list, m, 0, &error));
	g_assert_cmpstr(((Descriptor *)list->pdata[0])->digest, ==, B);
	g_assert_cmpstr(((Descriptor *)list->pdata[1])->digest, ==, A);
	g_assert_cmpstr(((Descriptor *)list->pdata[2])->digest, ==, C);
	g_assert_true(descriptors_limit_manifests(list, m, 1, &error));
	g_assert_cmpuint(list->len, ==, 1);
	descriptors_filter_platform(list, other);
	g_assert_cmpuint(list->len, ==, 0);
	g_assert_true(descriptors_limit_manifests(list, other, 0, &error));
	g_assert_false(descriptors_limit_manifests(list, other, 1, &error));
	g_assert_cmpstr(error->message, ==, "no match for platform in manifest: not found");
	g_assert_true(error_is(error, CTRD_ERR_NOT_FOUND));
	platform_matcher_free(other);
}

static void test_config(void)
{
	static const char text[] =
	        "{\"created\":\"2026-01-02T15:04:05Z\",\"author\":\"me\",\"architecture\":\"arm\",\"os\":"
	        "\"linux\","
	        "\"variant\":\"v7\",\"config\":{\"User\":\"1:2\",\"Env\":[\"A=1\"],\"Entrypoint\":[\"/"
	        "e\"],\"Cmd\":[\"c\","
	        "\"d\"],\"WorkingDir\":\"/"
	        "w\",\"Labels\":{\"l\":\"v\"},\"StopSignal\":\"SIGTERM\",\"Volumes\":{\"/b\":{},"
	        "\"/a\":{}},\"ExposedPorts\":{\"80/"
	        "tcp\":{}},\"ArgsEscaped\":true},\"rootfs\":{\"type\":\"layers\","
	        "\"diff_ids\":[\"" A "\",\"" B
	        "\"]},\"history\":[{\"created\":\"0001-01-01T00:00:00Z\",\"created_by\":"
	        "\"x\",\"empty_layer\":true},{\"comment\":\"c\"}]}";
	g_autoptr(GError) error = NULL;
	g_autoptr(ImageConfig) c = image_config_parse(text, strlen(text), &error);
	g_assert_no_error(error);
	g_assert_cmpint(c->created, ==, INT64_C(1767366245) * NS_PER_SEC);
	g_assert_cmpstr(c->author, ==, "me");
	g_assert_cmpstr(c->platform.variant, ==, "v7");
	g_assert_cmpstr(c->user, ==, "1:2");
	g_assert_cmpstr(c->env[0], ==, "A=1");
	g_assert_cmpstr(c->entrypoint[0], ==, "/e");
	g_assert_cmpuint(g_strv_length(c->cmd), ==, 2);
	g_assert_cmpstr(c->working_dir, ==, "/w");
	g_assert_cmpstr(strmap_get(c->labels, "l"), ==, "v");
	g_assert_cmpstr(c->stop_signal, ==, "SIGTERM");
	g_assert_cmpstr(c->volumes[0], ==, "/a");
	g_assert_cmpstr(c->volumes[1], ==, "/b");
	g_assert_cmpstr(c->exposed_ports[0], ==, "80/tcp");
	g_assert_cmpstr(c->diff_ids[1], ==, B);
	g_assert_cmpuint(c->history->len, ==, 2);
	const ImageHistory *h = c->history->pdata[0];
	g_assert_cmpint(h->created, ==, 0);
	g_assert_true(h->empty_layer);
	g_assert_cmpstr(h->created_by, ==, "x");

	g_autoptr(ImageConfig) bare = image_config_parse("{\"config\":null}", 15, &error);
	g_assert_no_error(error);
	g_assert_null(bare->env[0]);
	g_assert_null(bare->diff_ids[0]);
	g_assert_null(bare->volumes[0]);
	g_assert_null(bare->user);
	g_assert_cmpuint(g_hash_table_size(bare->labels), ==, 0);
}

static void test_config_bad(void)
{
	static const char *const cases[][2] = {
	        {"[]", "image config: not an object: invalid argument"},
	        {"{\"config\":[]}", "image config: \"config\" is not an object: invalid argument"},
	        {"{\"config\":{\"User\":0}}", "image config: \"User\" is not a string: invalid argument"},
	        {"{\"config\":{\"Env\":\"A=1\"}}",
	         "image config: json: \"Env\" is not an array: invalid argument"},
	        {"{\"config\":{\"Labels\":{\"a\":1}}}",
	         "image config: json: \"Labels\" holds what is no string: invalid argument"},
	        {"{\"config\":{\"Volumes\":[]}}",
	         "image config: \"Volumes\" is not an object: invalid argument"},
	        {"{\"rootfs\":{\"diff_ids\":[\"../x\"]}}",
	         "image config: diff id \"../x\": invalid checksum digest format"},
	        {"{\"os\":[]}", "image config: platform: \"os\" is not a string: invalid argument"},
	        {"{\"history\":{}}", "image config: \"history\" is not an array: invalid argument"},
	        {"{\"history\":[{\"comment\":1}]}",
	         "image config: \"comment\" is not a string: invalid argument"},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_null(image_config_parse(cases[i][0], strlen(cases[i][0]), &error));
		g_assert_cmpstr(error->message, ==, cases[i][1]);
		g_assert_true(error_is(error, CTRD_ERR_INVALID_ARGUMENT));
	}
}

static void test_chain_ids(void)
{
	static const char *const diffs[] = {A, B, C, NULL};
	g_autofree char *none = chain_id(diffs, 0), *one = chain_id(diffs, 1), *two = chain_id(diffs, 2),
	                *three = chain_id(diffs, 3);
	g_autofree char *expected = digest_bytes(A " " B, strlen(A " " B));
	g_assert_null(none);
	g_assert_cmpstr(one, ==, A);
	g_assert_cmpstr(two, ==, expected);
	g_autofree char *both = g_strconcat(two, " ", C, NULL), *expected3 = digest_bytes(both, strlen(both));
	g_assert_cmpstr(three, ==, expected3);
	g_auto(GStrv) all = chain_ids(diffs);
	g_assert_cmpuint(g_strv_length(all), ==, 3);
	g_assert_cmpstr(all[0], ==, one);
	g_assert_cmpstr(all[1], ==, two);
	g_assert_cmpstr(all[2], ==, three);
}

static void test_media_types(void)
{
	static const struct {
		const char *mt, *compression;
		bool layer, nondist;
	} cases[] = {
	        {MEDIA_TYPE_OCI_LAYER, "", true, false},
	        {MEDIA_TYPE_OCI_LAYER_GZIP, "gzip", true, false},
	        {MEDIA_TYPE_OCI_LAYER_ZSTD, "zstd", true, false},
	        {MEDIA_TYPE_OCI_LAYER_NONDIST_GZIP, "gzip", true, true},
	        {MEDIA_TYPE_OCI_LAYER_GZIP_ENCRYPTED, "gzip", true, false}, // sorted: encrypted, gzip
	        {MEDIA_TYPE_OCI_LAYER_ENCRYPTED, "", true, false},
	        {MEDIA_TYPE_OCI_LAYER "+zstd+unknown", "zstd", true, false},
	        {MEDIA_TYPE_OCI_LAYER "+", "", true, false},
	        {MEDIA_TYPE_DOCKER_LAYER, "unknown", true, false},
	        {MEDIA_TYPE_DOCKER_LAYER_GZIP, "gzip", true, false},
	        {MEDIA_TYPE_DOCKER_LAYER_GZIP "+encrypted", "", true, false},
	        {MEDIA_TYPE_DOCKER_LAYER_ZSTD, "zstd", true, false},
	        {MEDIA_TYPE_DOCKER_LAYER_FOREIGN, "unknown", true, true},
	        {MEDIA_TYPE_DOCKER_LAYER_FOREIGN_GZIP, "gzip", true, true},
	        {MEDIA_TYPE_EROFS_LAYER, NULL, true, false},
	        {"application/vnd.oci.image.layer.v2.x", NULL, true, false},
	        {MEDIA_TYPE_OCI_CONFIG, NULL, false, false},
	        {"", NULL, false, false},
	        {NULL, NULL, false, false},
	};
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) error = NULL;
		g_assert_cmpstr(media_type_diff_compression(cases[i].mt, &error), ==, cases[i].compression);
		g_assert_cmpint(media_type_is_layer(cases[i].mt), ==, cases[i].layer);
		g_assert_cmpint(media_type_is_nondistributable(cases[i].mt), ==, cases[i].nondist);
		if (cases[i].compression == NULL) {
			g_autofree char *text = g_strdup_printf("unrecognised mediatype %s: not implemented",
			                                        str_or(cases[i].mt, ""));
			g_assert_cmpstr(error->message, ==, text);
			g_assert_true(error_is(error, CTRD_ERR_NOT_IMPLEMENTED));
		}
	}
	g_assert_true(media_type_is_known_config(MEDIA_TYPE_CHECKPOINT));
	g_assert_false(media_type_is_config(MEDIA_TYPE_CHECKPOINT));
	g_assert_true(media_type_is_docker(MEDIA_TYPE_DOCKER_CONFIG));
	g_assert_true(media_type_is_attestation(MEDIA_TYPE_IN_TOTO));
	g_assert_false(media_type_is_manifest(NULL));
}

static void test_child_labels(void)
{
	g_autoptr(GPtrArray) list = descriptors_new();
	g_ptr_array_add(list, descriptor_new(MEDIA_TYPE_OCI_CONFIG, A, 1));
	g_ptr_array_add(list, descriptor_new(MEDIA_TYPE_OCI_LAYER_GZIP, A, 1));
	g_ptr_array_add(list, descriptor_new(MEDIA_TYPE_OCI_LAYER_GZIP, B, 1));
	g_ptr_array_add(list, descriptor_new(MEDIA_TYPE_OCI_MANIFEST, C, 1));
	g_ptr_array_add(list, descriptor_new("text/plain", C, 1));
	Descriptor *referrer = descriptor_new(MEDIA_TYPE_OCI_MANIFEST, B, 1);
	descriptor_annotate(referrer, ANNOTATION_MANIFEST_SUBJECT, C);
	g_ptr_array_add(list, referrer);
	g_ptr_array_add(list, descriptor_new(MEDIA_TYPE_OCI_CONFIG, B, 1));
	g_autoptr(GHashTable) labels = child_gc_labels(list, false);
	GHashTable *without = child_gc_labels(list, true);
	static const char *const expected[][2] = {
	        {"containerd.io/gc.ref.content.config", A},
	        {"containerd.io/gc.ref.content.config1", B},
	        {"containerd.io/gc.ref.content.l.0", A},
	        {"containerd.io/gc.ref.content.l.1", B},
	        {"containerd.io/gc.ref.content.m.0", C},
	        {"containerd.io/gc.ref.content.0", C},
	        {"containerd.io/gc.ref.content.referrer.sha256.bbbbbbbbbbbb", B},
	};
	g_assert_cmpuint(g_hash_table_size(labels), ==, G_N_ELEMENTS(expected));
	for (size_t i = 0; i < G_N_ELEMENTS(expected); i++)
		g_assert_cmpstr(strmap_get(labels, expected[i][0]), ==, expected[i][1]);
	g_assert_cmpuint(g_hash_table_size(without), ==, 5);
	g_hash_table_unref(without);
	g_assert_true(label_is_reserved(LABEL_RESTART_LOGURI));
	g_assert_true(label_is_reserved(LABEL_CRI_KIND));
	g_assert_false(label_is_reserved("maintainer"));
}

static void test_descriptor(void)
{
	static const char text[] =
	        "{\"mediaType\":\"m\",\"digest\":\"" A "\",\"size\":5,\"urls\":[\"u\"],\"annotations\":{"
	        "\"a\":\"1\",\"b\":\"2\"},\"data\":\"aGVsbG8=\",\"platform\":{\"architecture\":\"arm\","
	        "\"os\":"
	        "\"linux\"},\"artifactType\":\"t\"}";
	g_autoptr(JsonObject) o = json_parse(text, strlen(text), 0, NULL);
	g_auto(Descriptor) d = {0}, copy = {0};
	g_autoptr(GError) error = NULL;
	descriptor_from_json(o, &d, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(g_bytes_get_size(d.data), ==, 5);
	descriptor_copy(&copy, &d);
	descriptor_clear(&d);
	g_autoptr(JsonObject) back = descriptor_to_json(&copy);
	g_autofree char *again = json_to_text(back);
	g_assert_cmpstr(again, ==, text);
	g_assert_cmpstr(descriptor_annotation(&copy, "a"), ==, "1");
	g_assert_null(descriptor_annotation(&d, "a"));
	g_autoptr(Descriptor) small = descriptor_new("m", A, 0);
	g_autoptr(JsonObject) small_json = descriptor_to_json(small);
	g_autofree char *small_text = json_to_text(small_json);
	g_assert_cmpstr(small_text, ==, "{\"mediaType\":\"m\",\"digest\":\"" A "\",\"size\":0}");
	descriptor_free(NULL);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/manifest/manifest", test_manifest);
	g_test_add_func("/manifest/index", test_index);
	g_test_add_func("/manifest/kinds", test_kinds);
	g_test_add_func("/manifest/bad", test_bad);
	g_test_add_func("/manifest/children", test_children);
	g_test_add_func("/manifest/platforms", test_platforms);
	g_test_add_func("/manifest/config", test_config);
	g_test_add_func("/manifest/config-bad", test_config_bad);
	g_test_add_func("/manifest/chain-ids", test_chain_ids);
	g_test_add_func("/manifest/media-types", test_media_types);
	g_test_add_func("/manifest/child-labels", test_child_labels);
	g_test_add_func("/manifest/descriptor", test_descriptor);
	return g_test_run();
}
