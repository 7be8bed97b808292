// Runs a dlapp bundle by the C API of TensorFlow: client BUNDLE picture.png|rows.csv ...
#include "json.h"
#include "picture.h"
#include "rows.h"
#include "saved_model.h"

#define FORMAT 4

static const char *const TASKS[][MOST + 1] = {{"classification", "probabilities"}, {"regression", "value"},
    {"localization", "boxes", "scores", "classes", "count"}, {"detection", "boxes", "scores", "classes", "count"}};

struct bundle {
    struct model model;
    const char *labels, *preprocessing;
    const char *const *task;  // its name and those of its outputs
    struct decoders decoders;
};

static void open_bundle(struct bundle *bundle, const char *folder, const char *signature) {
    char text[TEXT];
    const char *format = member(signature, "format");
    string(member(signature, "task"), text);
    for (size_t k = 0; k < sizeof TASKS / sizeof *TASKS; k++)
        if (!strcmp(text, TASKS[k][0])) bundle->task = TASKS[k];
    bundle->labels = member(signature, "labels");
    bundle->preprocessing = member(signature, "preprocessing");
    if (!bundle->task || member(bundle->preprocessing, "vocabulary"))
        die("%s is for %s, or for texts; this client takes pictures and rows.", folder, text);
    if (!format || atoi(format) < 1 || atoi(format) > FORMAT)
        die("%s has another format than this client reads, 1 to %d.", folder, FORMAT);
    if (member(signature, "windows")) die("%s slides over pictures and gives a map, which is not printed.", folder);
    string(member(item(member(signature, "inputs"), 0), "name"), text);
    load(&bundle->model, folder, text, bundle->task + 1);
    add_decoders(&bundle->model, &bundle->decoders);
}

// Prints what the network says of an input, which it frees.
static void answer(struct bundle *bundle, TF_Tensor *given, const char *name) {
    TF_Tensor *found[MOST];
    char label[TEXT];
    struct model *model = &bundle->model;
    const float *first = TF_TensorData(run(model, model->input, given, model->outputs, model->count, found, name));
    if (!strcmp(bundle->task[1], "value")) printf("%s\t%.6g\n", name, (double)first[0]);
    else if (!strcmp(bundle->task[1], "probabilities")) {
        int best = 0;
        for (int k = 1; k < TF_Dim(found[0], 1); k++) best = first[k] > first[best] ? k : best;
        printf("%s\t%s\t%.4f\n", name, string(item(bundle->labels, best), label), (double)first[best]);
    } else {
        const float *scores = TF_TensorData(found[1]);
        const int32_t *classes = TF_TensorData(found[2]), *count = TF_TensorData(found[3]);
        for (int k = 0; k < *count && k < TF_Dim(found[0], 1); k++, first += 4)
            printf("%s\t%s\t%.4f\t%.2f\t%.2f\t%.2f\t%.2f\n", name, string(item(bundle->labels, classes[k]), label),
                   (double)scores[k], (double)first[0], (double)first[1], (double)first[2], (double)first[3]);
    }
    for (int k = 0; k < model->count; k++) TF_DeleteTensor(found[k]);
}

static void answer_rows(struct bundle *bundle, const char *path) {
    char name[4096], text[TEXT];
    size_t size;
    const char *columns = member(bundle->preprocessing, "columns"), *layout = member(bundle->preprocessing, "layout");
    char delimiter = layout && *layout == '{' ? *string(member(layout, "delimiter"), text) : ',';
    char *content = read_file(path, &size);
    struct table table = {path, content + (strncmp(content, "\xef\xbb\xbf", 3) ? 0 : 3), delimiter, NULL, 1, 1, 0, 0};
    int width = items(member(bundle->preprocessing, "mean")), *places = calloc((size_t)width + 1, sizeof *places);
    if (strlen(content) != size || !next_row(&table)) die("%s is empty or no text.", path);
    int first = table.count, more = !find_columns(&table, columns, layout, places, width) || next_row(&table);
    for (; more; more = next_row(&table)) {
        int64_t shape[] = {1, width};
        TF_Tensor *row = TF_AllocateTensor(TF_FLOAT, shape, 2, (size_t)width * sizeof(float));
        float *values = TF_TensorData(row);
        if (table.count != first)
            die("line %d of %s has %d cells; the first row has %d.", table.begins, path, table.count, first);
        for (int k = 0; k < width; k++) {
            const char *cell = table.cells[places[k]];
            if (!encode(cell, member(item(columns, k), "categories"), delimiter, &values[k])
                || (isnan(values[k]) && !item(columns, 0)))
                die("line %d of %s: '%s' must be a number.", table.begins, path, cell);
        }
        snprintf(name, sizeof name, "%s:%d", path, table.begins);
        answer(bundle, row, name);
    }
    free(places);
    free(table.cells);
    free(content);
}

int main(int argc, char **argv) {
    char path[4096];
    size_t size;
    struct bundle bundle = {0};
    if (argc < 3) die("usage: client BUNDLE picture.png|rows.csv ...");
    setenv("TF_CPP_MIN_LOG_LEVEL", "3", 0);
    snprintf(path, sizeof path, "%s/signature.json", argv[1]);
    char *signature = read_file(path, &size);
    open_bundle(&bundle, argv[1], signature);
    const char *shape = member(bundle.preprocessing, "size"), *channels = member(bundle.preprocessing, "channels");
    if (!channels) die("the signature has no channels.");
    for (int k = 2; k < argc; k++) {
        if (!shape || *shape != '[') answer_rows(&bundle, argv[k]);
        else answer(&bundle, read_picture(&bundle.model, &bundle.decoders, argv[k], atoi(channels)), argv[k]);
    }
    TF_CloseSession(bundle.model.session, bundle.model.status);
    TF_DeleteSession(bundle.model.session, bundle.model.status);
    TF_DeleteGraph(bundle.model.graph);
    TF_DeleteStatus(bundle.model.status);
    free(signature);
    return 0;
}
