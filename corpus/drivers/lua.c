/* Runs a Lua script with the libraries that need nothing WASI lacks. A Lua error ends the program. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

static const luaL_Reg libraries[] = {
    {LUA_GNAME, luaopen_base},
    {LUA_TABLIBNAME, luaopen_table},
    {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math},
    {LUA_UTF8LIBNAME, luaopen_utf8},
};

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
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        luaL_requiref(state, libraries[i].name, libraries[i].func, 1);
        lua_pop(state, 1);
    }
    if (luaL_loadfile(state, argv[1]) != LUA_OK)
        fail(state);
    lua_call(state, 0, 0);
    lua_close(state);
    return 0;
}
