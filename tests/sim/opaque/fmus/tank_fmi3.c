/* The tank behind FMI 3. */
#include <stdio.h>
#include "fmi3PlatformTypes.h"
#include "fmi3FunctionTypes.h"
#include "tank.h"

typedef struct {
    Tank tank;
    fmi3LogMessageCallback log;
    fmi3InstanceEnvironment environment;
} Instance;

#define REFUSED(name) fmi3Status name() { return fmi3Error; }
REFUSED(fmi3GetFloat32) REFUSED(fmi3SetFloat32) REFUSED(fmi3GetInt8) REFUSED(fmi3SetInt8) REFUSED(fmi3GetUInt8)
REFUSED(fmi3SetUInt8) REFUSED(fmi3GetInt16) REFUSED(fmi3SetInt16) REFUSED(fmi3GetUInt16) REFUSED(fmi3SetUInt16)
REFUSED(fmi3SetInt32) REFUSED(fmi3GetUInt32) REFUSED(fmi3SetUInt32) REFUSED(fmi3GetInt64) REFUSED(fmi3SetInt64)
REFUSED(fmi3GetUInt64) REFUSED(fmi3SetUInt64) REFUSED(fmi3GetString) REFUSED(fmi3SetString) REFUSED(fmi3GetBinary)
REFUSED(fmi3SetBinary) REFUSED(fmi3GetClock) REFUSED(fmi3SetClock) REFUSED(fmi3GetNumberOfVariableDependencies)
REFUSED(fmi3GetVariableDependencies) REFUSED(fmi3GetDirectionalDerivative) REFUSED(fmi3GetAdjointDerivative)
REFUSED(fmi3EnterConfigurationMode) REFUSED(fmi3ExitConfigurationMode) REFUSED(fmi3GetIntervalDecimal)
REFUSED(fmi3GetIntervalFraction) REFUSED(fmi3GetShiftDecimal) REFUSED(fmi3GetShiftFraction)
REFUSED(fmi3SetIntervalDecimal) REFUSED(fmi3SetIntervalFraction) REFUSED(fmi3SetShiftDecimal)
REFUSED(fmi3SetShiftFraction) REFUSED(fmi3EvaluateDiscreteStates) REFUSED(fmi3UpdateDiscreteStates)
REFUSED(fmi3EnterEventMode) REFUSED(fmi3EnterStepMode) REFUSED(fmi3GetOutputDerivatives)
REFUSED(fmi3ActivateModelPartition) REFUSED(fmi3CompletedIntegratorStep) REFUSED(fmi3EnterContinuousTimeMode)
REFUSED(fmi3GetContinuousStateDerivatives) REFUSED(fmi3GetContinuousStates) REFUSED(fmi3GetEventIndicators)
REFUSED(fmi3GetNominalsOfContinuousStates) REFUSED(fmi3GetNumberOfContinuousStates)
REFUSED(fmi3GetNumberOfEventIndicators) REFUSED(fmi3SetContinuousStates) REFUSED(fmi3SetTime)
#define GRANTED(name) fmi3Status name() { return fmi3OK; }
GRANTED(fmi3SetDebugLogging) GRANTED(fmi3EnterInitializationMode) GRANTED(fmi3Terminate)
#define NOT_THIS(name) fmi3Instance name() { return NULL; }
NOT_THIS(fmi3InstantiateModelExchange) NOT_THIS(fmi3InstantiateScheduledExecution)

const char *fmi3GetVersion(void) { return "3.0"; }

fmi3Instance fmi3InstantiateCoSimulation(
    fmi3String name, fmi3String token, fmi3String resources, fmi3Boolean visible, fmi3Boolean logging,
    fmi3Boolean events, fmi3Boolean early, const fmi3ValueReference wanted[], size_t count,
    fmi3InstanceEnvironment environment, fmi3LogMessageCallback log, fmi3IntermediateUpdateCallback update) {
    if (strcmp(token, TOKEN) != 0) return NULL;
    Instance *i = calloc(1, sizeof(Instance));
    i->tank = NEW;
    i->log = log;
    i->environment = environment;
    return i;
}

void fmi3FreeInstance(fmi3Instance c) { free(c); }

fmi3Status fmi3Reset(fmi3Instance c) {
    ((Instance *)c)->tank = NEW;
    return fmi3OK;
}

fmi3Status fmi3ExitInitializationMode(fmi3Instance c) {
    Tank *t = &((Instance *)c)->tank;
    t->real[LEVEL] = t->real[START];
    return fmi3OK;
}

fmi3Status fmi3GetFloat64(fmi3Instance c, const fmi3ValueReference r[], size_t n, fmi3Float64 x[], size_t m) {
    for (size_t i = 0; i < n; i++) x[i] = ((Instance *)c)->tank.real[r[i]];
    return fmi3OK;
}

fmi3Status fmi3SetFloat64(fmi3Instance c, const fmi3ValueReference r[], size_t n, const fmi3Float64 x[], size_t m) {
    for (size_t i = 0; i < n; i++) ((Instance *)c)->tank.real[r[i]] = x[i];
    return fmi3OK;
}

fmi3Status fmi3GetInt32(fmi3Instance c, const fmi3ValueReference r[], size_t n, fmi3Int32 x[], size_t m) {
    for (size_t i = 0; i < n; i++) x[i] = ((Instance *)c)->tank.steps;
    return fmi3OK;
}

fmi3Status fmi3GetBoolean(fmi3Instance c, const fmi3ValueReference r[], size_t n, fmi3Boolean x[], size_t m) {
    for (size_t i = 0; i < n; i++) x[i] = ((Instance *)c)->tank.open != 0;
    return fmi3OK;
}

fmi3Status fmi3SetBoolean(fmi3Instance c, const fmi3ValueReference r[], size_t n, const fmi3Boolean x[], size_t m) {
    for (size_t i = 0; i < n; i++) ((Instance *)c)->tank.open = x[i];
    return fmi3OK;
}

fmi3Status fmi3DoStep(fmi3Instance c, fmi3Float64 at, fmi3Float64 seconds, fmi3Boolean settled, fmi3Boolean *event,
                      fmi3Boolean *end, fmi3Boolean *early, fmi3Float64 *last) {
    Instance *i = c;
    char said[64];
    *event = *end = *early = fmi3False;
    *last = at + seconds;
    if (step(&i->tank, seconds)) return fmi3OK;
    snprintf(said, sizeof said, "the level is %g m", i->tank.real[LEVEL]);
    i->log(i->environment, fmi3Error, "error", said);
    return fmi3Error;
}

fmi3Status fmi3GetFMUState(fmi3Instance c, fmi3FMUState *state) {
    if (*state == NULL) *state = malloc(sizeof(Tank));
    memcpy(*state, &((Instance *)c)->tank, sizeof(Tank));
    return fmi3OK;
}

fmi3Status fmi3SetFMUState(fmi3Instance c, fmi3FMUState state) {
    memcpy(&((Instance *)c)->tank, state, sizeof(Tank));
    return fmi3OK;
}

fmi3Status fmi3FreeFMUState(fmi3Instance c, fmi3FMUState *state) {
    free(*state);
    *state = NULL;
    return fmi3OK;
}

fmi3Status fmi3SerializedFMUStateSize(fmi3Instance c, fmi3FMUState state, size_t *size) {
    *size = sizeof(Tank);
    return fmi3OK;
}

fmi3Status fmi3SerializeFMUState(fmi3Instance c, fmi3FMUState state, fmi3Byte bytes[], size_t size) {
    memcpy(bytes, state, size);
    return fmi3OK;
}

fmi3Status fmi3DeserializeFMUState(fmi3Instance c, const fmi3Byte bytes[], size_t size, fmi3FMUState *state) {
    if (size != sizeof(Tank)) return fmi3Error;
    *state = malloc(size);
    memcpy(*state, bytes, size);
    return fmi3OK;
}
