/* The tank behind FMI 2. */
#include "fmi2TypesPlatform.h"
#include "fmi2FunctionTypes.h"
#include "tank.h"

typedef struct {
    Tank tank;
    const fmi2CallbackFunctions *callbacks;
    char name[64];
} Instance;

#define REFUSED(name) fmi2Status name() { return fmi2Error; }
REFUSED(fmi2GetString) REFUSED(fmi2SetString) REFUSED(fmi2SetInteger) REFUSED(fmi2CancelStep)
REFUSED(fmi2SetRealInputDerivatives) REFUSED(fmi2GetRealOutputDerivatives) REFUSED(fmi2GetDirectionalDerivative)
REFUSED(fmi2GetStatus) REFUSED(fmi2GetRealStatus) REFUSED(fmi2GetIntegerStatus) REFUSED(fmi2GetBooleanStatus)
REFUSED(fmi2GetStringStatus)
#define GRANTED(name) fmi2Status name() { return fmi2OK; }
GRANTED(fmi2SetDebugLogging) GRANTED(fmi2SetupExperiment) GRANTED(fmi2EnterInitializationMode) GRANTED(fmi2Terminate)

const char *fmi2GetTypesPlatform(void) { return fmi2TypesPlatform; }
const char *fmi2GetVersion(void) { return "2.0"; }

fmi2Component fmi2Instantiate(fmi2String name, fmi2Type type, fmi2String guid, fmi2String resources,
                              const fmi2CallbackFunctions *callbacks, fmi2Boolean visible, fmi2Boolean logging) {
    if (type != fmi2CoSimulation || strcmp(guid, TOKEN) != 0) return NULL;
    Instance *i = calloc(1, sizeof(Instance));
    i->tank = NEW;
    i->callbacks = callbacks;
    strncpy(i->name, name, sizeof i->name - 1);
    return i;
}

void fmi2FreeInstance(fmi2Component c) { free(c); }

fmi2Status fmi2Reset(fmi2Component c) {
    ((Instance *)c)->tank = NEW;
    return fmi2OK;
}

fmi2Status fmi2ExitInitializationMode(fmi2Component c) {
    Tank *t = &((Instance *)c)->tank;
    t->real[LEVEL] = t->real[START];
    return fmi2OK;
}

fmi2Status fmi2GetReal(fmi2Component c, const fmi2ValueReference r[], size_t n, fmi2Real x[]) {
    for (size_t i = 0; i < n; i++) x[i] = ((Instance *)c)->tank.real[r[i]];
    return fmi2OK;
}

fmi2Status fmi2SetReal(fmi2Component c, const fmi2ValueReference r[], size_t n, const fmi2Real x[]) {
    for (size_t i = 0; i < n; i++) ((Instance *)c)->tank.real[r[i]] = x[i];
    return fmi2OK;
}

fmi2Status fmi2GetInteger(fmi2Component c, const fmi2ValueReference r[], size_t n, fmi2Integer x[]) {
    for (size_t i = 0; i < n; i++) x[i] = ((Instance *)c)->tank.steps;
    return fmi2OK;
}

fmi2Status fmi2GetBoolean(fmi2Component c, const fmi2ValueReference r[], size_t n, fmi2Boolean x[]) {
    for (size_t i = 0; i < n; i++) x[i] = ((Instance *)c)->tank.open;
    return fmi2OK;
}

fmi2Status fmi2SetBoolean(fmi2Component c, const fmi2ValueReference r[], size_t n, const fmi2Boolean x[]) {
    for (size_t i = 0; i < n; i++) ((Instance *)c)->tank.open = x[i];
    return fmi2OK;
}

fmi2Status fmi2DoStep(fmi2Component c, fmi2Real at, fmi2Real seconds, fmi2Boolean settled) {
    Instance *i = c;
    if (step(&i->tank, seconds)) return fmi2OK;
    i->callbacks->logger(i->callbacks->componentEnvironment, i->name, fmi2Error, "error", "the level is %g m",
                         i->tank.real[LEVEL]);
    return fmi2Error;
}

fmi2Status fmi2GetFMUstate(fmi2Component c, fmi2FMUstate *state) {
    if (*state == NULL) *state = malloc(sizeof(Tank));
    memcpy(*state, &((Instance *)c)->tank, sizeof(Tank));
    return fmi2OK;
}

fmi2Status fmi2SetFMUstate(fmi2Component c, fmi2FMUstate state) {
    memcpy(&((Instance *)c)->tank, state, sizeof(Tank));
    return fmi2OK;
}

fmi2Status fmi2FreeFMUstate(fmi2Component c, fmi2FMUstate *state) {
    free(*state);
    *state = NULL;
    return fmi2OK;
}

fmi2Status fmi2SerializedFMUstateSize(fmi2Component c, fmi2FMUstate state, size_t *size) {
    *size = sizeof(Tank);
    return fmi2OK;
}

fmi2Status fmi2SerializeFMUstate(fmi2Component c, fmi2FMUstate state, fmi2Byte bytes[], size_t size) {
    memcpy(bytes, state, size);
    return fmi2OK;
}

fmi2Status fmi2DeSerializeFMUstate(fmi2Component c, const fmi2Byte bytes[], size_t size, fmi2FMUstate *state) {
    if (size != sizeof(Tank)) return fmi2Error;
    *state = malloc(size);
    memcpy(*state, bytes, size);
    return fmi2OK;
}
