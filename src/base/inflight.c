// SPDX-License-Identifier: Apache-2.0

#include "base/inflight.h"

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "base/util.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Inflight *newest, *oldest; // prev is older
static _Thread_local Inflight *mine;

void inflight_begin(Inflight *f, const char *what, const char *ns)
{
	*f = (Inflight){.what = what, .ns = ns, .began = time_mono()};
	f->stage_began = f->began;
	pthread_mutex_lock(&lock);
	f->prev = newest;
	if (newest != NULL)
		newest->next = f;
	else
		oldest = f;
	newest = f;
	pthread_mutex_unlock(&lock);
}

void inflight_end(Inflight *f)
{
	if (f->what == NULL)
		return;
	pthread_mutex_lock(&lock);
	*(f->prev != NULL ? &f->prev->next : &oldest) = f->next;
	*(f->next != NULL ? &f->next->prev : &newest) = f->prev;
	f->what = NULL;
	pthread_mutex_unlock(&lock);
	if (mine == f)
		mine = NULL;
}

Inflight *inflight_enter(Inflight *f)
{
	Inflight *before = mine;
	mine = f;
	return before;
}

void inflight_object(Inflight *f, const char *object)
{
	pthread_mutex_lock(&lock);
	g_strlcpy(f->object, object, sizeof f->object);
	pthread_mutex_unlock(&lock);
}

void inflight_stage(const char *format, ...)
{
	if (mine == NULL)
		return;
	char text[INFLIGHT_TEXT];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	pthread_mutex_lock(&lock);
	g_strlcpy(mine->stage, text, sizeof mine->stage);
	mine->stage_began = time_mono();
	pthread_mutex_unlock(&lock);
}

void inflight_child(pid_t pid)
{
	if (mine == NULL)
		return;
	pthread_mutex_lock(&lock);
	mine->child = pid;
	pthread_mutex_unlock(&lock);
}

static void row_free(void *p)
{
	InflightRow *r = p;
	g_free(r->what);
	g_free(r->ns);
	g_free(r);
}

GPtrArray *inflight_rows(void)
{
	GPtrArray *rows = g_ptr_array_new_with_free_func(row_free);
	int64_t now = time_mono();
	pthread_mutex_lock(&lock);
	for (const Inflight *f = oldest; f != NULL; f = f->next) {
		InflightRow *r = g_new0(InflightRow, 1);
		r->what = g_strdup(f->what);
		r->ns = g_strdup(str_or(f->ns, ""));
		g_strlcpy(r->object, f->object, sizeof r->object);
		g_strlcpy(r->stage, f->stage, sizeof r->stage);
		r->age_ns = MAX(now - f->began, 0);
		r->stage_age_ns = MAX(now - f->stage_began, 0);
		r->child = f->child;
		g_ptr_array_add(rows, r);
	}
	pthread_mutex_unlock(&lock);
	return rows;
}

char *inflight_json(void)
{
	g_autoptr(GPtrArray) rows = inflight_rows();
	g_autoptr(JsonObject) list = json_object_new_array();
	for (guint i = 0; i < rows->len; i++) {
		const InflightRow *r = rows->pdata[i];
		JsonObject *o = json_object_new_object();
		json_set_string(o, "method", r->what);
		json_set_string(o, "namespace", r->ns);
		json_set_string(o, "object", r->object);
		json_set_int64(o, "age_ms", r->age_ns / NS_PER_MS);
		json_set_string(o, "stage", r->stage);
		json_set_int64(o, "stage_age_ms", r->stage_age_ns / NS_PER_MS);
		json_set_int64(o, "child", r->child);
		json_object_array_add(list, o);
	}
	return json_to_text(list);
}

void inflight_log(void)
{
	g_autoptr(GPtrArray) rows = inflight_rows();
	g_autofree char *n = g_strdup_printf("%u", rows->len);
	log_info("=== BEGIN calls in flight ===", NULL);
	for (guint i = 0; i < rows->len; i++) {
		const InflightRow *r = rows->pdata[i];
		g_autofree char *age = duration_format(r->age_ns);
		g_autofree char *stage_age = duration_format(r->stage_age_ns);
		g_autofree char *child = g_strdup_printf("%d", (int)r->child);
		log_info("in flight", "method", r->what, "namespace", r->ns, "object", r->object, "age", age,
		         "stage", r->stage, "stage_age", stage_age, "child", child, NULL);
	}
	log_info("=== END calls in flight ===", "calls", n, NULL);
}
