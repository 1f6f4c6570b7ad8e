// SPDX-License-Identifier: Apache-2.0
#include "ctr/progress.h"
#include "base/time.h"
#include "base/util.h"
#include "ctr/util.h"
#include <string.h>
#include <sys/ioctl.h>

enum {
	BAR = 40, // columns of a bar
};
#define REDRAW (NS_PER_SEC / 10)

typedef struct {
	char *name, *event;
	int64_t progress, total;
} Line;

struct ProgressView {
	FILE *out;
	bool terminal;
	GPtrArray *lines; // of Line, in order of appearance
	char *status;     // the last sentence about the whole
	guint drawn;      // rows to go up before the next drawing
	int64_t begun, last_draw;
};

static void line_free(void *data)
{
	Line *l = data;
	g_free(l->name);
	g_free(l->event);
	g_free(l);
}

ProgressView *progress_view_new(FILE *out)
{
	ProgressView *v = g_new0(ProgressView, 1);
	v->out = out;
	v->terminal = isatty(fileno(out)) == 1;
	v->lines = g_ptr_array_new_with_free_func(line_free);
	v->begun = time_mono();
	return v;
}

static Line *find_line(ProgressView *v, const char *name)
{
	for (guint i = 0; i < v->lines->len; i++) {
		Line *l = v->lines->pdata[i];
		if (g_str_equal(l->name, name))
			return l;
	}
	Line *l = g_new0(Line, 1);
	l->name = g_strdup(name);
	l->event = g_strdup("");
	g_ptr_array_add(v->lines, l);
	return l;
}

static int64_t total_bytes(const ProgressView *v)
{
	int64_t n = 0;
	for (guint i = 0; i < v->lines->len; i++)
		n += ((const Line *)v->lines->pdata[i])->progress;
	return n;
}

static int terminal_width(void)
{
	struct winsize ws = {0};
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0 ? ws.ws_col : 80;
}

static void draw_line(const ProgressView *v, const Line *l)
{
	char bar[BAR + 1];
	int full = l->total > 0 ? (int)(MIN(l->progress, l->total) * BAR / l->total) : 0;
	if (g_str_equal(l->event, "complete") || g_str_equal(l->event, "extracted") ||
	    g_str_equal(l->event, "already exists"))
		full = BAR;
	memset(bar, '-', BAR);
	memset(bar, '+', (size_t)full);
	bar[BAR] = '\0';
	g_autofree char *at = bytes_text(l->progress), *of = bytes_text(l->total);
	g_autofree char *name = g_strndup(l->name, 40);
	g_autofree char *row =
	        l->total > 0 ? g_strdup_printf("%-40s %-14s |%s| %s/%s", name, l->event, bar, at, of)
	                     : g_strdup_printf("%-40s %-14s |%s|", name, l->event, bar);
	fprintf(v->out, "%.*s\033[K\n", terminal_width() - 1, row);
}

static void draw(ProgressView *v)
{
	g_autofree char *total = bytes_text(total_bytes(v));
	if (v->drawn > 0)
		fprintf(v->out, "\033[%uA", v->drawn);
	for (guint i = 0; i < v->lines->len; i++)
		draw_line(v, v->lines->pdata[i]);
	fprintf(v->out, "%s\telapsed: %.1f s\ttotal: %s\033[K\n", str_or(v->status, ""),
	        (double)(time_mono() - v->begun) / (double)NS_PER_SEC, total);
	v->drawn = v->lines->len + 1;
	v->last_draw = time_mono();
	fflush(v->out);
}

void progress_view_take(const Containerd__Types__Transfer__Progress *p, void *view)
{
	ProgressView *v = view;
	if (str_empty(p->name)) {
		g_free(v->status);
		v->status = g_strdup(p->event);
		if (!v->terminal)
			fprintf(v->out, "%s\n", p->event);
	} else {
		Line *l = find_line(v, p->name);
		bool news = !g_str_equal(l->event, p->event);
		if (news) {
			g_free(l->event);
			l->event = g_strdup(p->event);
		}
		l->progress = MAX(p->progress, 0);
		l->total = MAX(p->total, 0);
		if (news && !v->terminal)
			fprintf(v->out, "%s\t%s\n", p->name, p->event);
	}
	if (v->terminal && time_mono() - v->last_draw > REDRAW)
		draw(v);
}

void progress_view_end(ProgressView *v)
{
	if (v->terminal) {
		draw(v);
	} else {
		g_autofree char *total = bytes_text(total_bytes(v));
		fprintf(v->out, "elapsed: %.1f s\ttotal: %s\n",
		        (double)(time_mono() - v->begun) / (double)NS_PER_SEC, total);
		fflush(v->out);
	}
	g_ptr_array_unref(v->lines);
	g_free(v->status);
	g_free(v);
}
