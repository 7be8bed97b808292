// What ends the program, files, and as much of JSON as signature.json needs.
#pragma once
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT 1024  // bytes of a label or a name, with the 0 behind it

static _Noreturn void die(const char *format, ...) {
    va_list values;
    va_start(values, format);
    fputs("Error: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
    exit(1);
}

// A whole file with a 0 behind it, to be freed.
static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    long length = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;
    char *content = length >= 0 && length < LONG_MAX ? malloc((size_t)length + 1) : NULL;
    if (!content) die("%s cannot be read.", path);
    rewind(file);
    *size = fread(content, 1, (size_t)length, file);
    if (*size != (size_t)length) die("%s cannot be read.", path);
    content[*size] = 0;
    fclose(file);
    return content;
}

// JSON: a value is a pointer to where it begins; NULL is what is not there, also in what is not there.

static const char *behind(const char *value) {
    int depth = 0;
    do {
        value += strspn(value, " \t\r\n,:");
        if (*value == '"') {
            for (value++; *value != '"'; value++)
                if (!*value || (*value == '\\' && !*++value)) die("the JSON ends in a string.");
            value++;
        } else if (*value && strchr("{[]}", *value)) {
            depth += *value == '{' || *value == '[' ? 1 : -1;
            value++;
        } else {
            size_t size = strcspn(value, " \t\r\n,:\"{[]}");
            if (!size) die("the JSON ends too early.");
            value += size;
        }
    } while (depth > 0);
    return value + strspn(value, " \t\r\n,:");
}

static const char *next_item(const char *value) {
    value = behind(value);
    return *value && *value != ']' ? value : NULL;
}

static const char *item(const char *array, int index) {
    if (!array || *array != '[') return NULL;
    const char *at = array + 1 + strspn(array + 1, " \t\r\n");
    if (!*at || *at == ']') return NULL;
    while (at && index-- > 0) at = next_item(at);
    return at;
}

static const char *member(const char *object, const char *key) {
    size_t size = strlen(key);
    if (!object || *object != '{') return NULL;
    for (const char *at = object + 1 + strspn(object + 1, " \t\r\n"); *at == '"'; at = behind(behind(at)))
        if (!strncmp(at + 1, key, size) && at[size + 1] == '"') return behind(at);
    return NULL;
}

// The text of a string, in UTF-8; of what JSON escapes, dlapp escapes only what it must.
static const char *string(const char *value, char text[TEXT]) {
    static const char escapes[] = "b\bf\fn\nr\rt\t\"\"\\\\//";
    size_t size = 0;
    if (!value || *value != '"') die("the signature lacks a text.");
    for (const char *end = behind(value), *at = value + 1; at < end && *at != '"'; at++) {
        unsigned code = (unsigned char)*at;
        if (code == '\\' && *++at == 'u') {
            if (sscanf(at, "u00%2x", &code) != 1 || code > 127) die("the signature has an escape that is not read.");
            at += 4;
        } else if (code == '\\') {
            const char *escape = strchr(escapes, *at);
            code = escape ? (unsigned char)escape[1] : '?';
        }
        if (size == TEXT - 1) die("a text of the signature has more than %d bytes.", TEXT - 1);
        text[size++] = (char)code;
    }
    text[size] = 0;
    return text;
}
