// Rows of a CSV file, as dlapp/tables.py reads them.
#pragma once
#include "json.h"

#include <ctype.h>
#include <float.h>
#include <math.h>

static const char *const MISSING[] = {"", "?", "#N/A", "#N/A N/A", "#NA", "-NaN", "-nan", "<NA>",
                                      "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"};

// A table, which is cut in place, row by row.
struct table {
    const char *path;
    char *at, delimiter, **cells;
    int line, begins, count, room;  // the line at hand, that of the row, its cells and what there is room for
};

static char *cut_cell(struct table *table, char *end) {
    char *from = table->at, *cell = from, *to = from;
    int quoted = 0;
    for (; *from && (quoted || (*from != table->delimiter && *from != '\n')); from++) {
        table->line += *from == '\n';
        if (*from == '"' && quoted && from[1] == '"') *to++ = *from++;
        else if (*from == '"' && (quoted || to == cell)) quoted = !quoted;
        else *to++ = *from;
    }
    if (quoted) die("%s: a quote in the row that begins in line %d is never closed.", table->path, table->begins);
    *end = *from;
    table->line += *end == '\n';
    table->at = from + (*end != 0);
    while (to > cell && isspace((unsigned char)to[-1])) to--;
    *to = 0;
    return cell + strspn(cell, " \t\r\n");
}

// How many cells the next row has that is not blank; 0 at the end.
static int next_row(struct table *table) {
    while (*table->at) {
        char end, blank = 1;
        table->begins = table->line;
        table->count = 0;
        do {
            if (table->count == table->room) {
                table->room = 2 * table->room + 16;
                table->cells = realloc(table->cells, (size_t)table->room * sizeof *table->cells);
                if (!table->cells) die("there is no memory for a row of %s.", table->path);
            }
            char *cell = cut_cell(table, &end);
            blank = blank && !*cell;
            table->cells[table->count++] = cell;
        } while (end && end != '\n');
        if (!blank) return table->count;
    }
    return 0;
}

// Whether a cell is a finite number; beside another delimiter than the comma that may be the decimal point.
static int number(const char *cell, char delimiter, float *value) {
    char text[TEXT], *end;
    if (strlen(cell) >= sizeof text || cell[strspn(cell, "0123456789+-.,eE")]) return 0;
    char *comma = strchr(strcpy(text, cell), ',');
    if (comma && delimiter != ',' && !strchr(text, '.')) *comma = '.';
    double found = strtod(text, &end);
    *value = (float)found;
    return *text && !*end && fabs(found) <= (double)FLT_MAX;
}

// Whether a cell is what the network takes: a number, NaN where it is missing, or the index of a category.
static int encode(const char *cell, const char *categories, char delimiter, float *value) {
    char name[TEXT];
    float wanted, same;
    for (size_t k = 0; k < sizeof MISSING / sizeof *MISSING; k++)
        if (!strcmp(cell, MISSING[k])) return *value = NAN, 1;
    if (!categories || *categories != '[') return number(cell, delimiter, value);
    int is_number = number(cell, ',', &wanted), index = 0;
    *value = -1;
    for (const char *at = item(categories, 0); at; at = next_item(at), index++) {
        if (!strcmp(cell, string(at, name))) return *value = (float)index, 1;
        // a column with a gap comes as 1.0 where another has 1
        if (is_number && *value < 0 && number(name, ',', &same) && same == wanted) *value = (float)index;
    }
    return 1;
}

static int items(const char *array) {
    int count = 0;
    for (const char *at = item(array, 0); at; at = next_item(at)) count++;
    return count;
}

static int place(const char *name, char **cells, int count) {
    while (count-- > 0)
        if (!strcmp(name, cells[count])) return count;
    return -1;
}

// Where each column stands in the table, whose first row is at hand; whether that is a header.
static int find_columns(const struct table *table, const char *columns, const char *layout, int *places, int width) {
    char name[TEXT], other[TEXT], target[TEXT] = "";
    const char *names = member(layout, "names"), *header = member(layout, "header");
    int found = 0, all = items(names), is_header = 0, without;
    float value;
    for (int k = 0; names && k < width; k++) {
        places[k] = place(string(member(item(columns, k), "name"), name), table->cells, table->count);
        if (places[k] >= 0) found++;
        else if (header && *header == 't') die("the first row of %s must name the column %s.", table->path, name);
    }
    if (names && found == width) return 1;
    for (int k = 0; k < width; k++) places[k] = k;
    if (table->count == width) {
        for (int k = 0; !names && k < width; k++) is_header |= !encode(table->cells[k], NULL, ',', &value);
        return is_header;
    }
    without = table->count == all - 1;  // the target
    if (!without && table->count != all)
        die("%s has %d columns; the bundle takes %d.", table->path, table->count, width);
    if (without) string(member(layout, "target"), target);
    for (int k = 0; k < width; k++) {
        string(member(item(columns, k), "name"), name);
        places[k] = 0;
        for (int n = 0; n < all && strcmp(string(item(names, n), other), name); n++)
            places[k] += !without || strcmp(other, target);
        if (places[k] >= table->count) die("the layout of the signature lacks %s.", name);
    }
    return 0;
}
