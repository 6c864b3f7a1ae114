/* A tank whose outflow is in proportion to its level: area dh/dt = q - k h, solved exactly in each step. It wears: `k`
   grows with all that ever came in, which it remembers. It fails when more is taken than it holds. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEVEL, INFLOW, AREA, K, START, TOTAL, STEPS, OPEN };
typedef struct {
    double real[6];
    int steps, open;
} Tank;

static const Tank NEW = {.real = {0.0, 0.0, 2.0, 0.1, 1.0, 0.0}, .open = 1};

static int step(Tank *t, double seconds) {
    double q = t->open ? t->real[INFLOW] : 0.0, k = t->real[K] * (1.0 + 0.001 * t->real[TOTAL]);
    t->real[LEVEL] = q / k + (t->real[LEVEL] - q / k) * exp(-k * seconds / t->real[AREA]);
    t->real[TOTAL] += q * seconds;
    t->steps++;
    return t->real[LEVEL] >= 0.0;
}
