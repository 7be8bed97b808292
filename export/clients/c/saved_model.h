// A SavedModel, whose tensors have the names of its SignatureDef: as much of protocol buffers as that needs.
#pragma once
#include "json.h"

#include <stdint.h>

#include "tensorflow/c/c_api.h"

#define MOST 4  // outputs of a bundle

struct model {
    TF_Graph *graph;
    TF_Session *session;
    TF_Status *status;
    TF_Output input, outputs[MOST];
    int count;  // of outputs
};

static void check(TF_Status *status, const char *what) {
    if (TF_GetCode(status) != TF_OK) die("%s: %s", what, TF_Message(status));
}

struct bytes {
    const unsigned char *at, *end;
};

static uint64_t varint(struct bytes *message) {
    uint64_t value = 0;
    for (int shift = 0; message->at < message->end && shift < 64; shift += 7) {
        value |= (uint64_t)(*message->at & 127) << shift;
        if (*message->at++ < 128) break;
    }
    return value;
}

// The next field of that number that holds a text or a message; 0 where there is none.
static int next_field(struct bytes *message, unsigned number, struct bytes *field) {
    while (message->at < message->end) {
        uint64_t tag = varint(message), size = 0;
        if ((tag & 7) == 0) varint(message);
        else if ((tag & 7) == 1) size = 8;
        else if ((tag & 7) == 5) size = 4;
        else if ((tag & 7) == 2) size = varint(message);
        else return 0;
        if (size > (uint64_t)(message->end - message->at)) return 0;
        *field = (struct bytes){message->at, message->at + size};
        message->at += size;
        if (tag == (number << 3 | 2)) return 1;
    }
    return 0;
}

// What a map, the field of that number, has under a key.
static int look_up(struct bytes message, unsigned number, const char *key, struct bytes *value) {
    struct bytes entry, name;
    size_t size = strlen(key);
    while (next_field(&message, number, &entry)) {
        struct bytes rest = entry;
        if (next_field(&rest, 1, &name) && (size_t)(name.end - name.at) == size && !memcmp(name.at, key, size))
            return next_field(&entry, 2, value);
    }
    return 0;
}

// The tensor that a SignatureDef calls so: NAME:INDEX of an operation.
static TF_Output tensor_named(TF_Graph *graph, struct bytes signature, unsigned number, const char *key) {
    struct bytes info, name;
    char text[TEXT], *colon;
    if (!look_up(signature, number, key, &info) || !next_field(&info, 1, &name) || name.end - name.at >= TEXT)
        die("the SavedModel has no tensor %s.", key);
    snprintf(text, sizeof text, "%.*s", (int)(name.end - name.at), (const char *)name.at);
    if ((colon = strrchr(text, ':'))) *colon = 0;
    TF_Output tensor = {TF_GraphOperationByName(graph, text), colon ? atoi(colon + 1) : 0};
    if (!tensor.oper || tensor.index < 0 || tensor.index >= TF_OperationNumOutputs(tensor.oper))
        die("the graph has no %s.", text);
    return tensor;
}

// Opens FOLDER/saved_model/1; the names are those of the signature and end with NULL.
static void load(struct model *model, const char *folder, const char *input, const char *const *outputs) {
    char path[4096];
    const char *tags[] = {"serve"};
    struct bytes signature;
    TF_SessionOptions *options = TF_NewSessionOptions();
    TF_Buffer *meta = TF_NewBuffer();
    snprintf(path, sizeof path, "%s/saved_model/1", folder);
    model->graph = TF_NewGraph();
    model->status = TF_NewStatus();
    model->session = TF_LoadSessionFromSavedModel(options, NULL, path, tags, 1, model->graph, meta, model->status);
    check(model->status, path);
    struct bytes message = {meta->data, (const unsigned char *)meta->data + meta->length};
    if (!look_up(message, 5, "serving_default", &signature)) die("%s has no serving_default.", path);
    model->input = tensor_named(model->graph, signature, 1, input);
    for (; model->count < MOST && outputs[model->count]; model->count++)
        model->outputs[model->count] = tensor_named(model->graph, signature, 2, outputs[model->count]);
    TF_DeleteBuffer(meta);
    TF_DeleteSessionOptions(options);
}

// Runs the graph, frees what was given to it, and returns the first of what was found.
static TF_Tensor *run(struct model *model, TF_Output input, TF_Tensor *given, const TF_Output *outputs, int count,
                      TF_Tensor **found, const char *name) {
    TF_SessionRun(model->session, NULL, &input, &given, 1, outputs, found, count, NULL, 0, NULL, model->status);
    TF_DeleteTensor(given);
    check(model->status, name);
    return found[0];
}
