/* A client made with libmodbus: does what the arguments say and prints a line for each.
 *
 * Usage: client PORT UNIT { rc|rd|rh|ri ADDRESS COUNT | wc|wr ADDRESS VALUE | ws ADDRESS COUNT VALUE... |
 * mask ADDRESS AND OR } ... */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int words(modbus_t *bus, const char *what, int at, int count) {
    uint16_t got[125];
    int done = what[1] == 'h' ? modbus_read_registers(bus, at, count, got) : modbus_read_input_registers(bus, at, count, got);
    for (int i = 0; i < done; i++)
        printf("%d%c", got[i], i + 1 < done ? ' ' : '\n');
    return done;
}

static int bits(modbus_t *bus, const char *what, int at, int count) {
    uint8_t got[2000];
    int done = what[1] == 'c' ? modbus_read_bits(bus, at, count, got) : modbus_read_input_bits(bus, at, count, got);
    for (int i = 0; i < done; i++)
        printf("%d%c", got[i], i + 1 < done ? ' ' : '\n');
    return done;
}

static int several(modbus_t *bus, int at, int count, char **values) {
    uint16_t registers[123];
    for (int i = 0; i < count; i++)
        registers[i] = atoi(values[i]);
    return modbus_write_registers(bus, at, count, registers);
}

int main(int argc, char **argv) {
    modbus_t *bus = argc > 2 ? modbus_new_tcp("127.0.0.1", atoi(argv[1])) : NULL;
    if (!bus || modbus_set_slave(bus, atoi(argv[2])) || modbus_connect(bus)) {
        fprintf(stderr, "client: %s\n", modbus_strerror(errno));
        return 1;
    }
    for (int i = 3; i + 2 < argc; i += 3) {
        const char *what = argv[i];
        int at = atoi(argv[i + 1]), value = atoi(argv[i + 2]), done;
        if (!strcmp(what, "rh") || !strcmp(what, "ri"))
            done = words(bus, what, at, value);
        else if (!strcmp(what, "rc") || !strcmp(what, "rd"))
            done = bits(bus, what, at, value);
        else {
            if (!strcmp(what, "ws")) {
                done = several(bus, at, value, argv + i + 3);
                i += value;
            } else if (!strcmp(what, "mask"))
                done = modbus_mask_write_register(bus, at, value, atoi(argv[i++ + 3]));
            else
                done = what[1] == 'c' ? modbus_write_bit(bus, at, value) : modbus_write_register(bus, at, value);
            if (done >= 0)
                puts("done");
        }
        if (done < 0)
            printf("%s\n", modbus_strerror(errno));
    }
    modbus_close(bus);
    modbus_free(bus);
    return 0;
}
