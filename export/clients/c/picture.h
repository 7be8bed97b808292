// Pictures, decoded by TensorFlow.
#pragma once
#include "saved_model.h"
#include "tensorflow/c/tf_tstring.h"

struct decoders {
    TF_Output file, jpeg, other;
};

// Two operations more in the graph.
static void add_decoders(struct model *model, struct decoders *decoders) {
    TF_OperationDescription *file = TF_NewOperation(model->graph, "Placeholder", "client/file");
    TF_SetAttrType(file, "dtype", TF_STRING);
    decoders->file.oper = TF_FinishOperation(file, model->status);
    check(model->status, "Placeholder");
    TF_OperationDescription *jpeg = TF_NewOperation(model->graph, "DecodeJpeg", "client/jpeg");
    TF_AddInput(jpeg, decoders->file);
    TF_SetAttrString(jpeg, "dct_method", "INTEGER_ACCURATE", 16);  // as Pillow does; else pixels differ by some levels
    decoders->jpeg.oper = TF_FinishOperation(jpeg, model->status);
    check(model->status, "DecodeJpeg");
    TF_OperationDescription *other = TF_NewOperation(model->graph, "DecodeImage", "client/other");
    TF_AddInput(other, decoders->file);
    TF_SetAttrBool(other, "expand_animations", 0);
    decoders->other.oper = TF_FinishOperation(other, model->status);
    check(model->status, "DecodeImage");
}

static unsigned whole(const unsigned char *at, int bytes, int little) {
    unsigned value = 0;
    for (int k = 0; k < bytes; k++) value = value << 8 | at[little ? bytes - 1 - k : k];
    return value;
}

// How a JPEG file stands, 1 to 8, as its EXIF data say; 1 is upright.
static unsigned find_orientation(const unsigned char *file, size_t size) {
    for (size_t at = 2, length; at + 4 <= size && file[at] == 0xff && file[at + 1] != 0xda; at += 2 + length) {
        length = whole(file + at + 2, 2, 0);
        if (file[at + 1] != 0xe1 || length < 16 || at + 2 + length > size) continue;
        if (memcmp(file + at + 4, "Exif\0", 6)) continue;
        const unsigned char *tiff = file + at + 10;
        int little = *tiff == 'I';
        size_t room = length - 8, table = whole(tiff + 4, 4, little);
        if (table + 2 > room) return 1;
        size_t entry = table + 2, entries = whole(tiff + table, 2, little);
        for (; entries-- && entry + 12 <= room; entry += 12)
            if (whole(tiff + entry, 2, little) == 0x0112) {
                unsigned value = whole(tiff + entry + 8, 2, little);
                return value >= 1 && value <= 8 ? value : 1;
            }
    }
    return 1;
}

// (1, height, width, channels) uint8, upright; what is transparent lies on white.
static TF_Tensor *read_picture(struct model *model, const struct decoders *decoders, const char *path, int channels) {
    size_t size;
    char *content = read_file(path, &size);
    int is_jpeg = size > 2 && !memcmp(content, "\xff\xd8", 2);
    unsigned stands = is_jpeg ? find_orientation((unsigned char *)content, size) : 1;
    if (channels != 1 && channels != 3 && channels != 4) die("the signature has no channels.");
    if (size > 24 && !memcmp(content, "\x89PNG", 4) && content[24] > 8)
        die("%s has more than 8 bits: save it with 8.", path);
    TF_Tensor *file = TF_AllocateTensor(TF_STRING, NULL, 0, sizeof(TF_TString)), *picture;
    TF_StringInit(TF_TensorData(file));
    TF_StringCopy(TF_TensorData(file), content, size);
    free(content);
    run(model, decoders->file, file, is_jpeg ? &decoders->jpeg : &decoders->other, 1, &picture, path);
    int64_t rows = TF_Dim(picture, 0), columns = TF_Dim(picture, 1), has = TF_Dim(picture, 2);
    int64_t height = stands > 4 ? columns : rows, width = stands > 4 ? rows : columns;
    int64_t shape[] = {1, height, width, channels};
    TF_Tensor *image = TF_AllocateTensor(TF_UINT8, shape, 4, (size_t)(height * width * channels));
    unsigned char *to = TF_TensorData(image);
    for (int64_t pixel = 0; pixel < height * width; pixel++) {
        int64_t y = pixel / width, x = pixel % width, row = stands > 4 ? x : y, column = stands > 4 ? y : x;
        if (stands == 3 || stands == 4 || stands == 6 || stands == 7) row = rows - 1 - row;
        if (stands == 2 || stands == 3 || stands == 7 || stands == 8) column = columns - 1 - column;
        const unsigned char *from = (unsigned char *)TF_TensorData(picture) + (row * columns + column) * has;
        int alpha = has % 2 ? 255 : from[has - 1], rgba[4] = {0, 0, 0, alpha};
        for (int k = 0; k < 3; k++) {
            rgba[k] = from[has > 2 ? k : 0];
            if (channels != 4) rgba[k] = (2 * (rgba[k] * alpha + 255 * (255 - alpha)) + 255) / 510;
        }
        // the luma of ITU-R 601, as Pillow rounds it
        if (channels == 1) *to++ = (unsigned char)((19595 * rgba[0] + 38470 * rgba[1] + 7471 * rgba[2] + 32768) >> 16);
        else for (int k = 0; k < channels; k++) *to++ = (unsigned char)rgba[k];
    }
    TF_DeleteTensor(picture);
    return image;
}
