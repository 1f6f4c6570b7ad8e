// SPDX-License-Identifier: Apache-2.0
/* ctr images inspect: the tree of an image's documents (upstream pkg/display/manifest_printer.go). */
#include "ctr/blob.h"
#include "ctr/image.h"
#include "ctr/images.h"
#include "ctr/util.h"
#include "oci/media-types.h"
#include <stdio.h>
#include <string.h>

#define MIDDLE "├── "
#define LAST "└── "
#define SKIP "│   "
#define SPACER "    "

enum {
	DEPTH_MAX = 16 // of indexes in indexes
};

/* As Go's json.Indent: the text as it is, only white space between the tokens changes. */
static void print_indented(const char *json, size_t len, const char *prefix)
{
	int depth = 0;
	bool string = false, fresh = false; // fresh: a bracket was opened and nothing has followed yet
	for (size_t i = 0; i < len; i++) {
		char c = json[i];
		if (string) {
			putchar(c);
			if (c == '\\' && i + 1 < len)
				putchar(json[++i]);
			else if (c == '"')
				string = false;
			continue;
		}
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		bool closes = c == '}' || c == ']';
		if (closes)
			depth--;
		if ((fresh && !closes) || (closes && !fresh))
			printf("\n%s%*s", prefix, 3 * MAX(depth, 0), "");
		fresh = c == '{' || c == '[';
		depth += fresh ? 1 : 0;
		string = c == '"';
		putchar(c);
		if (c == ',')
			printf("\n%s%*s", prefix, 3 * MAX(depth, 0), "");
		else if (c == ':')
			putchar(' ');
	}
}

/* With --content: the labels of a blob, and the blob where it is JSON. */
static bool show_content(Cli *cli, const Descriptor *desc, const char *prefix, GError **error)
{
	if (!cli_bool(cli, "content"))
		return true;
	g_autoptr(GHashTable) labels = ctr_blob_labels(cli, desc->digest, error);
	if (labels == NULL)
		return false;
	if (g_hash_table_size(labels) > 0) {
		g_autoptr(GPtrArray) keys = strmap_sorted_keys(labels);
		printf("%s┌────────Labels─────────\n", prefix);
		for (guint i = 0; i < keys->len; i++)
			printf("%s│%s: %s\n", prefix, Q(keys->pdata[i]),
			       Q(strmap_get(labels, keys->pdata[i])));
		printf("%s└───────────────────────\n", prefix);
	}
	if (!g_str_has_suffix(desc->media_type, "json"))
		return true;
	g_autofree char *data = NULL;
	size_t len = 0;
	if (!ctr_blob_read(cli, desc->digest, &data, &len, error))
		return false;
	g_autofree char *inner = g_strconcat(prefix, "│", NULL);
	printf("%s┌────────Content────────\n%s", prefix, inner);
	print_indented(data, len, inner);
	printf("\n%s└───────────────────────\n", prefix);
	return true;
}

static void print_descriptor(const char *prefix, const Descriptor *d)
{
	printf("%s%s @%s (%" PRId64 " bytes)\n", prefix, str_or(d->media_type, ""), d->digest, d->size);
}

static bool print_manifest(Cli *cli, const Manifest *m, const char *child_prefix, GError **error)
{
	bool alone = m->layers->len == 0;
	g_autofree char *middle = g_strconcat(child_prefix, alone ? LAST : MIDDLE, NULL);
	g_autofree char *last = g_strconcat(child_prefix, LAST, NULL);
	g_autofree char *below = g_strconcat(child_prefix, alone ? SPACER : SKIP, NULL);
	print_descriptor(middle, &m->config);
	if (!show_content(cli, &m->config, below, error))
		return false;
	for (guint i = 0; i < m->layers->len; i++)
		print_descriptor(i + 1 == m->layers->len ? last : middle, m->layers->pdata[i]);
	return true;
}

static bool print_tree(Cli *cli, const Descriptor *desc, const char *prefix, const char *child_prefix,
                       int depth, GError **error)
{
	print_descriptor(prefix, desc);
	g_autofree char *below = g_strconcat(child_prefix, SKIP, NULL);
	if (desc->platform != NULL && !str_empty(desc->platform->architecture)) {
		g_autofree char *platform = platform_format(desc->platform);
		printf("%s Platform: %s\n", below, platform);
	}
	g_autofree char *data = NULL;
	size_t len = 0;
	g_autoptr(GError) failed = NULL;
	if (!ctr_blob_read(cli, desc->digest, &data, &len, &failed)) {
		if (!error_is(failed, CTRD_ERR_NOT_FOUND)) {
			g_propagate_error(error, g_steal_pointer(&failed));
			return false;
		}
		printf("%s" LAST " Content does not exist locally, skipping\n", child_prefix);
		return true;
	}
	if (!show_content(cli, desc, below, error))
		return false;
	if (media_type_is_manifest(desc->media_type)) {
		g_autoptr(Manifest) m = manifest_parse(data, len, desc->media_type, error);
		return m != NULL && print_manifest(cli, m, child_prefix, error);
	}
	if (!media_type_is_index(desc->media_type))
		return true;
	if (depth == DEPTH_MAX)
		return error_set(error, CTRD_ERR_RESOURCE_EXHAUSTED, "more than %d indexes in one another",
		                 DEPTH_MAX);
	g_autoptr(Index) index = index_parse(data, len, desc->media_type, error);
	if (index == NULL)
		return false;
	for (guint i = 0; i < index->manifests->len; i++) {
		bool is_last = i + 1 == index->manifests->len;
		g_autofree char *sub = g_strconcat(child_prefix, is_last ? LAST : MIDDLE, NULL);
		g_autofree char *sub_child = g_strconcat(child_prefix, is_last ? SPACER : SKIP, NULL);
		if (!print_tree(cli, index->manifests->pdata[i], sub, sub_child, depth + 1, error))
			return false;
	}
	return true;
}

/* "2026-09-20 10:00:00.5 +0000 UTC": how Go prints a time. */
static void print_time(const char *what, TimeNs t)
{
	g_autofree char *text = time_go(t);
	printf(SKIP " %s: %s\n", what, text);
}

static bool inspect_run(Cli *cli, GError **error)
{
	autopb Containerd__Services__Images__V1__GetImageResponse *resp = NULL;
	if (!ctr_image_get(cli, cli_arg(cli, 0), &resp, error))
		return false;
	const Containerd__Services__Images__V1__Image *image = resp->image;
	g_autoptr(Descriptor) target = ctr_image_target(image);
	g_autoptr(GHashTable) labels = label_map(image->n_labels, image->labels);
	g_autoptr(GPtrArray) keys = strmap_sorted_keys(labels);
	puts(image->name);
	print_time("Created", time_in(image->created_at));
	print_time("Updated", time_in(image->updated_at));
	for (guint i = 0; i < keys->len; i++)
		printf(SKIP " Label %s: %s\n", Q(keys->pdata[i]), Q(strmap_get(labels, keys->pdata[i])));
	return print_tree(cli, target, LAST, SPACER, 0, error);
}

static const CliFlag content_flags[] = {{"content", FLAG_BOOL, "Show JSON content", .value = "false"}, {0}};
const CliCommand ctr_images_inspect = {
        .name = "inspect",
        .aliases = {"i"},
        .usage = "inspect an image",
        .arguments = "<image> [flags]",
        .flags = {content_flags},
        .run = inspect_run,
};
