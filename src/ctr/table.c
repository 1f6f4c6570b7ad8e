// SPDX-License-Identifier: Apache-2.0
/* Go's text/tabwriter: a column is a run of rows that have a cell there which a tab ends. */
#include "ctr/ctr.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct Table {
	int minwidth, padding;
	bool tabs;
	GPtrArray *rows; // char**, cells
};

Table *table_new(int minwidth, int padding)
{
	Table *t = g_new0(Table, 1);
	t->minwidth = minwidth;
	t->padding = padding;
	t->rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
	return t;
}

Table *table_new_tabs(int minwidth, int padding)
{
	Table *t = table_new(minwidth, padding);
	t->tabs = true;
	return t;
}

void table_row(Table *t, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	g_autofree char *text = g_strdup_vprintf(format, args);
	va_end(args);
	g_ptr_array_add(t->rows, g_strsplit(text, "\t", -1));
}

enum { TAB = 8 };

static int cell_width(const char *cell)
{
	return (int)g_utf8_strlen(cell, -1);
}

/* The width of column c around row r: over the adjacent rows that have it. The last cell of a row belongs to
 * no column. */
static int column_width(const Table *t, guint r, guint c)
{
	guint first = r, end = r;
	while (first > 0 && g_strv_length(t->rows->pdata[first - 1]) > c + 1)
		first--;
	while (end < t->rows->len && g_strv_length(t->rows->pdata[end]) > c + 1)
		end++;
	int width = 0;
	for (guint i = first; i < end; i++)
		width = MAX(width, cell_width(((char **)t->rows->pdata[i])[c]));
	if (width == 0 && !t->tabs)
		return 0;
	width = MAX(width + t->padding, t->minwidth);
	return t->tabs ? (width + TAB - 1) / TAB * TAB : width;
}

static void pad(const Table *t, int columns)
{
	if (!t->tabs) {
		printf("%*s", columns, "");
		return;
	}
	for (int i = 0; i < (columns + TAB - 1) / TAB; i++)
		putchar('\t');
}

void table_print(Table *t)
{
	for (guint r = 0; r < t->rows->len; r++) {
		char **cells = t->rows->pdata[r];
		guint n = g_strv_length(cells);
		for (guint c = 0; c < n; c++) {
			fputs(cells[c], stdout);
			if (c + 1 < n)
				pad(t, column_width(t, r, c) - cell_width(cells[c]));
		}
		putchar('\n');
	}
	table_free(t);
}

void table_free(Table *t)
{
	g_ptr_array_unref(t->rows);
	g_free(t);
}
