import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.util.JSONObjectUtils;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Set;

/** Gets a token with the JDK alone, and verifies one with Nimbus. See ../README.md. */
public class Recipe {
    static final String ISSUER = System.getenv("ISSUER"), AUDIENCE = System.getenv("AUDIENCE");

    /** Call this once, and again shortly before expires_in seconds have passed. */
    static String getToken() throws Exception {
        // jotd's ids and secrets contain no characters that need encoding.
        String credentials = System.getenv("CLIENT_ID") + ":" + System.getenv("CLIENT_SECRET");
        String body = "grant_type=client_credentials&scope=read&resource="
            + URLEncoder.encode(AUDIENCE, StandardCharsets.UTF_8);
        HttpRequest request = HttpRequest.newBuilder(URI.create(ISSUER + "/token"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Authorization", "Basic " + Base64.getEncoder().encodeToString(
                credentials.getBytes(StandardCharsets.US_ASCII)))
            .POST(HttpRequest.BodyPublishers.ofString(body)).build();
        HttpResponse<String> answer =
            HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200)
            throw new IllegalStateException(answer.statusCode() + ": " + answer.body());
        return (String) JSONObjectUtils.parse(answer.body()).get("access_token");
    }

    /** Create one for the whole program: it caches the keys. */
    static DefaultJWTProcessor<?> verifier() throws Exception {
        var verifier = new DefaultJWTProcessor<>();
        verifier.setJWSTypeVerifier(new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType("at+jwt")));
        verifier.setJWSKeySelector(new JWSVerificationKeySelector<>(
            Set.of(JWSAlgorithm.ES256, JWSAlgorithm.RS256),
            JWKSourceBuilder.create(URI.create(ISSUER + "/.well-known/jwks.json").toURL()).build()));
        verifier.setJWTClaimsSetVerifier(new DefaultJWTClaimsVerifier<>(AUDIENCE,
            new JWTClaimsSet.Builder().issuer(ISSUER).build(), Set.of("sub", "exp", "iat", "jti")));
        return verifier;
    }

    public static void main(String[] arguments) throws Exception {
        String token = System.getenv("TOKEN"); // to verify an existing token
        System.out.println(verifier().process(token != null ? token : getToken(), null));
    }
}
