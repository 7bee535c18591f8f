import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Asks for a chat completion three times: HttpClient as it comes, whole, streamed, then again. */
public class Chat {
    static final String BODY =
            "{\"model\": \"m\", \"stream\": %s, \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}";

    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (String streams : new String[] {"false", "true", "false"}) {
            HttpRequest request =
                    HttpRequest.newBuilder(URI.create(System.getenv("BASE_URL") + "/chat/completions"))
                            .header("Authorization", "Bearer " + System.getenv("API_KEY"))
                            .header("Content-Type", "application/json")
                            .POST(HttpRequest.BodyPublishers.ofString(String.format(BODY, streams)))
                            .build();
            HttpResponse<String> answer =
                    client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version());
            System.out.println(answer.body().replace("\n", " "));
        }
    }
}
