/* Runs the SQL of a file in a database in memory and prints every row. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = malloc(size + 1);
    size_t got = text ? fread(text, 1, size, file) : 0;
    fclose(file);
    if (!text || got != (size_t)size)
        return NULL;
    text[size] = 0;
    return text;
}

static int print_row(void *unused, int count, char **values, char **names)
{
    (void)unused;
    (void)names;
    for (int i = 0; i < count; i++)
        printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
    printf("\n");
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    char *sql = argc == 2 ? read_text(argv[1]) : NULL;
    if (!sql) {
        fprintf(stderr, "usage: sqlite FILE; the file must be readable\n");
        return 2;
    }
    sqlite3 *database;
    char *error = NULL;
    if (sqlite3_open(":memory:", &database) != SQLITE_OK
        || sqlite3_exec(database, sql, print_row, NULL, &error) != SQLITE_OK) {
        fprintf(stderr, "sqlite: %s\n", error ? error : sqlite3_errmsg(database));
        return 1;
    }
    sqlite3_close(database);
    free(sql);
    return 0;
}
