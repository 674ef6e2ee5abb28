/* Runs a Lua script. A Lua error ends it: Lua would recover by longjmp, which WASI has only with exceptions. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(lua_State *state)
{
    const char *message = lua_tostring(state, -1);
    fprintf(stderr, "lua: %s\n", message ? message : "an error without a message");
    exit(1);
}

int main(int argc, char **argv)
{
    lua_State *state = luaL_newstate();
    if (argc != 2 || !state) {
        fprintf(stderr, "usage: lua SCRIPT\n");
        return 2;
    }
    lua_atpanic(state, fail);
    luaL_openlibs(state);
    if (luaL_loadfile(state, argv[1]) != LUA_OK)
        fail(state);
    lua_call(state, 0, 0);
    lua_close(state);
    return 0;
}
