/* A device made with libmodbus, as its own select server has it; must not know who asks.
 *
 * Holding register n holds 3n, input register n holds 65535 - n, coil n is on when 3 divides n, discrete input n when 5
 * does; holding registers 1000 ... 1007 hold the float 12.3456 in the orders ABCD, DCBA, BADC, CDAB (libmodbus's own
 * functions for it write other orders in some versions). Usage: server PORT UNIT; PORT 0 takes a free one; prints the port. */
#include <arpa/inet.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

enum { CELLS = 2000 };

static modbus_mapping_t *image(void) {
    modbus_mapping_t *map = modbus_mapping_new(CELLS, CELLS, CELLS, CELLS);
    for (int n = 0; map && n < CELLS; n++) {
        map->tab_registers[n] = 3 * n;
        map->tab_input_registers[n] = 65535 - n;
        map->tab_bits[n] = n % 3 == 0;
        map->tab_input_bits[n] = n % 5 == 0;
    }
    if (map) {
        uint16_t *at = map->tab_registers + 1000; /* 0x41458794: 12.3456 */
        const uint16_t orders[] = {0x4145, 0x8794, 0x9487, 0x4541, 0x4541, 0x9487, 0x8794, 0x4145};
        memcpy(at, orders, sizeof orders);
    }
    return map;
}

static void serve(modbus_t *bus, modbus_mapping_t *map, int listener) {
    fd_set all, ready;
    int most = listener;
    FD_ZERO(&all);
    FD_SET(listener, &all);
    for (;;) {
        ready = all;
        if (select(most + 1, &ready, NULL, NULL, NULL) < 0)
            return;
        for (int fd = 0; fd <= most; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                FD_SET(client, &all);
                most = client > most ? client : most;
                continue;
            }
            uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
            modbus_set_socket(bus, fd);
            int size = modbus_receive(bus, query);
            if (size > 0)
                modbus_reply(bus, query, size, map);
            else if (size < 0) {
                close(fd);
                FD_CLR(fd, &all);
            }
        }
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in at;
    socklen_t size = sizeof at;
    modbus_t *bus = modbus_new_tcp("127.0.0.1", argc > 1 ? atoi(argv[1]) : 0);
    modbus_mapping_t *map = image();
    if (!bus || !map)
        return 1;
    modbus_set_slave(bus, argc > 2 ? atoi(argv[2]) : 1);
    int listener = modbus_tcp_listen(bus, 8);
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&at, &size)) {
        perror("server");
        return 1;
    }
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    serve(bus, map, listener);
    return 0;
}
